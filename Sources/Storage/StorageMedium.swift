// What a folder on flash can do, step by step. Each step is one system call on the device, and one place for a power
// cut in the simulator, so that both run the same code above it.

import Bytes
import HostInterface

/// One folder, for one operation: a file that is still open after it, because of an error, is the medium's to close.
/// Every step may wait as long as the flash takes.
public protocol StorageMedium: ~Copyable {
  /// Makes a new, empty file to write to. One of that name is `.failed`.
  mutating func create(_ name: borrowing StorageName) throws(StorageFailure) -> Int32

  /// Opens a file to read, or to write to as well.
  mutating func open(_ name: borrowing StorageName, forWriting: Bool) throws(StorageFailure) -> Int32

  /// Closes a file; an error of what was written to it may show here.
  mutating func close(_ file: Int32) throws(StorageFailure)

  /// How many bytes a file has.
  mutating func length(of file: Int32) throws(StorageFailure) -> Int

  /// Appends bytes of a file from `offset` on to `buffer`, at most `byteCountMax` of them, which must fit.
  ///
  /// - Returns: how many, which may be fewer; 0 at the end.
  mutating func read(
    _ file: Int32, at offset: Int, into buffer: inout ByteBuffer, byteCountMax: Int
  ) throws(StorageFailure) -> Int

  /// Writes the beginning of `bytes`, which must not be empty, at `offset`.
  ///
  /// - Returns: how many, at least 1.
  mutating func write(_ file: Int32, at offset: Int, _ bytes: Span<UInt8>) throws(StorageFailure) -> Int

  /// Cuts a file to `byteCount` bytes.
  mutating func truncate(_ file: Int32, to byteCount: Int) throws(StorageFailure)

  /// Waits until content and length of a file are durable. After an error neither is, and no later success says that
  /// they are: the system forgets what it could not write.
  mutating func flush(_ file: Int32) throws(StorageFailure)

  /// Gives a file another name, in the place of one that has it.
  mutating func rename(_ name: borrowing StorageName, to newName: borrowing StorageName) throws(StorageFailure)

  /// Removes a file.
  mutating func remove(_ name: borrowing StorageName) throws(StorageFailure)

  /// Waits until the names in the folder are durable.
  mutating func flushFolder() throws(StorageFailure)

  /// How much more the files of this folder may have, in bytes.
  mutating func freeByteCount() throws(StorageFailure) -> UInt64

  /// Lets the owner execute a file, and nobody else do anything with it.
  mutating func makeExecutable(_ file: Int32) throws(StorageFailure)

  /// Has what is durable of a file be read from the flash itself next, as far as the system does that.
  mutating func forgetCache(of file: Int32)

  /// Calls `body` with name and length of every file, in no order.
  mutating func forEachFile(_ body: (Span<UInt8>, Int) -> Void) throws(StorageFailure)
}

/// Why a step failed.
public enum StorageFailure: UInt8, Error, Equatable, Sendable, BitwiseCopyable {
  /// There is no such file.
  case notFound
  /// There is no room.
  case noSpace
  /// Nothing can be written here.
  case readOnly
  /// Something else uses it.
  case inUse
  /// The medium reported an error.
  case failed

  /// What it means for an operation.
  public var answer: StorageAnswer {
    switch self {
    case .notFound: .notFound
    case .noSpace: .noSpace
    case .readOnly: .readOnly
    case .inUse: .inUse
    case .failed: .failed
    }
  }
}

/// The name of a file, with a zero behind it.
public struct StorageName: ~Copyable {
  /// The longest name: that of a series or record, a point, and 16 digits or a short word.
  public static var bytesMax: Int { StorageRecord.nameBytesMax + 17 }

  private var bytes = InlineArray<34, UInt8>(repeating: 0)
  private var count = 0

  /// A literal, and something behind it.
  init(_ name: StaticString, _ suffix: StaticString = "") {
    append(name.bytes)
    append(suffix.bytes)
  }

  /// The name of a segment: `queue.00000000000004d2`.
  init(_ segment: StorageSegment, isSetAside: Bool = false) {
    self.init(segment.series.fileName, isSetAside ? "~" : ".")
    for shift in stride(from: 60, through: 0, by: -4) {
      append(hexDigit(UInt8(truncatingIfNeeded: segment.number >> UInt64(shift)) & 15))
    }
  }

  /// A name that was found; nil when it is longer than ours are.
  public init?(checking name: Span<UInt8>) {
    guard name.count <= StorageName.bytesMax else { return nil }
    append(name)
  }

  private mutating func append(_ text: Span<UInt8>) {
    for index in text.indices { append(text[index]) }
  }

  private mutating func append(_ byte: UInt8) {
    // One stays zero.
    precondition(count < StorageName.bytesMax)
    bytes[count] = byte
    count += 1
  }

  /// Its bytes, without the zero.
  public var span: Span<UInt8> {
    @_lifetime(borrow self)
    get { bytes.span.extracting(first: count) }
  }

  /// Its bytes and the zero.
  public var terminated: Span<UInt8> {
    @_lifetime(borrow self)
    get { bytes.span.extracting(first: count + 1) }
  }
}

extension StorageMedium where Self: ~Copyable {
  /// Writes all of `bytes` at `offset`. Each turn writes at least one.
  public mutating func writeAll(_ file: Int32, at offset: Int, _ bytes: Span<UInt8>) throws(StorageFailure) {
    var written = 0
    while written < bytes.count {
      written += try write(file, at: offset + written, bytes.extracting(written..<bytes.count))
    }
  }

  /// Removes a file that need not be there. Where that fails, creating another one will.
  mutating func forget(_ name: borrowing StorageName) {
    do throws(StorageFailure) { try remove(name) } catch {}
  }
}
