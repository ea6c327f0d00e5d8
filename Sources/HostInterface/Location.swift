// Where the machine stands, as another program has written it down.

import Bytes

/// The file of a program that knows where the machine is, a receiver of satellites for one.
public protocol HostLocation: ~Copyable {
  /// Puts the beginning of the file at an absolute path into `text`. Asked again and again: it is small, and there is
  /// no other way to be told of changes on every file system.
  ///
  /// - Returns: how many bytes that are, all of `text` where there may be more; nil where it cannot be read.
  mutating func readLocation(_ path: Span<UInt8>, _ text: inout LocationText) -> Int?
}

/// What is read of it.
public typealias LocationText = InlineArray<256, UInt8>
