// Whole files, for programs that start up or print and end.

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
  @inline(never)
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

  static func isRegularFile(_ descriptor: Int32) -> Bool {
    var status = stat()
    return fstat(descriptor, &status) == 0 && status.kind == S_IFREG
  }
}
