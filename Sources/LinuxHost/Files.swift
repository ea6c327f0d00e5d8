// Small things around files, the environment and the standard streams, for programs that start up or print and end.

import Bytes
import CLinux
import HostInterface

/// Why a file could not be read.
public enum FileFailure: Error, Equatable {
  /// There is no such file.
  case notFound
  /// We may not read it.
  case notPermitted
  /// It is a folder or a device.
  case notRegular
  /// It has more bytes than the buffer has room.
  case tooLarge
  /// Its path is longer than `Files.pathBytesMax`.
  case pathTooLong
  /// The system reported an error, with this value of `errno`.
  case inputOutput(Int32)

  init(_ failure: Errno) {
    switch failure.code {
    case ENOENT, ENOTDIR: self = .notFound
    case EACCES, EPERM: self = .notPermitted
    case ENAMETOOLONG: self = .pathTooLong
    default: self = .inputOutput(failure.code)
    }
  }
}

/// Whole files, read once.
public enum Files {
  /// The longest path, in bytes.
  public static var pathBytesMax: Int { PathText.bytesMax }

  /// Appends all of the file at `path` to `buffer`, or nothing. May wait for the file system.
  public static func read(_ path: Span<UInt8>, into buffer: inout ByteBuffer) throws(FileFailure) {
    let start = buffer.count
    let isRegular: Bool
    let isWhole: Bool
    do throws(Errno) {
      let descriptor = try System.openForReading(PathText(path))
      defer { System.close(descriptor) }
      isRegular = isRegularFile(descriptor)
      isWhole = isRegular ? try readAll(descriptor, into: &buffer) : false
    } catch {
      buffer.truncate(to: start)
      throw FileFailure(error)
    }
    guard isWhole else {
      buffer.truncate(to: start)
      throw isRegular ? .tooLarge : .notRegular
    }
  }

  /// Reads to the end; false when the buffer is full before that.
  private static func readAll(_ descriptor: Int32, into buffer: inout ByteBuffer) throws(Errno) -> Bool {
    // Each turn adds at least a byte.
    while buffer.freeCount > 0 {
      if try System.read(descriptor, into: &buffer, byteCountMax: buffer.freeCount) == 0 { return true }
    }
    return false
  }

  /// Whether users other than the owner and the group may read the file; false where that cannot be told.
  public static func isReadableByOthers(_ path: Span<UInt8>) -> Bool {
    guard let status = System.status(of: PathText(path)) else { return false }
    return status.st_mode & 0o004 != 0  // S_IROTH
  }

  private static func isRegularFile(_ descriptor: Int32) -> Bool {
    var status = stat()
    return fstat(descriptor, &status) == 0 && status.kind == S_IFREG
  }
}

/// The environment of the process.
public enum Environment {
  /// Appends the value of variable `name` to `buffer`.
  ///
  /// - Returns: whether the variable is set, even if to nothing.
  public static func append(_ name: StaticString, to buffer: inout ByteBuffer) -> Bool {
    guard let value = value(name) else { return false }
    buffer.append(CString(value).span)
    return true
  }

  /// The value of variable `name`, ending with a zero. Not by way of `String`, which brings all of its tables along.
  static func value(_ name: StaticString) -> UnsafePointer<CChar>? {
    // DEVIATION(unsafe-pointer): literals end with a zero, as getenv(3) wants it.
    let start = UnsafeRawPointer(name.utf8Start).assumingMemoryBound(to: CChar.self)
    return UnsafePointer(getenv(start))
  }
}

/// The words of the command line, as the C library hands them to `main`.
public struct Arguments: ~Copyable {
  // DEVIATION(unsafe-pointer): argv belongs to the process and never goes away.
  private let words: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>
  /// How many words there are, the program's name included.
  public let count: Int

  /// Takes the two arguments of `main`.
  public init(count: Int32, words: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) {
    self.words = words
    self.count = Int(count)
  }

  /// The word at `index`, 0 being the program's name.
  public subscript(index: Int) -> Span<UInt8> {
    @_lifetime(borrow self)
    get {
      precondition(index >= 0 && index < count)
      guard let word = words[index] else { return _overrideLifetime(Span(), borrowing: self) }
      return _overrideLifetime(CString(word).span, borrowing: self)
    }
  }
}

/// The standard streams of a program that prints and ends.
public enum StandardStream: Int32, Sendable {
  /// Standard output.
  case output = 1
  /// Standard error.
  case error = 2

  /// Writes all of `bytes`, waiting as long as the reader needs; false when the reader is gone.
  public func write(_ bytes: Span<UInt8>) -> Bool {
    do throws(Errno) {
      try System.writeAll(rawValue, bytes)
      return true
    } catch {
      return false
    }
  }
}

/// Bytes that end with a zero and live as long as the process.
struct CString {
  let start: UnsafePointer<CChar>

  init(_ start: UnsafePointer<CChar>) { self.start = start }

  var span: Span<UInt8> {
    @_lifetime(immortal)
    get {
      let bytes = UnsafeRawPointer(start).assumingMemoryBound(to: UInt8.self)
      return _overrideLifetime(Span(_unsafeStart: bytes, count: strlen(start)), copying: ())
    }
  }
}
