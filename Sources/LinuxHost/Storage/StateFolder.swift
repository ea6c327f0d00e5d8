// A folder on flash by system calls, one for each step. Only a child of the host calls them: any of them may take as
// long as the flash, or a server behind FUSE or NFS, takes.

import Bytes
import CLinux
import HostInterface
import Storage

extension Errno {
  /// The same in what matters to whoever keeps something.
  fileprivate var storageFailure: StorageFailure {
    switch code {
    case ENOENT: .notFound
    case ENOSPC, EDQUOT, EFBIG: .noSpace
    case EROFS, EACCES, EPERM: .readOnly
    case EBUSY: .inUse
    default: .failed
    }
  }
}

/// The state folder, opened.
struct StateFolder: ~Copyable, StorageMedium {
  private let folder: Int32

  /// Goes into the folder at `path`: from now on this process's names are in it, wherever others move it.
  init(_ path: CString) throws(StorageFailure) {
    // Links are followed: whoever set up the machine may have put the folder elsewhere. No file in it is reached so.
    _ = try checked(chdir(path.start))
    let opened = mote_open_folder()
    _ = try checked(opened)
    folder = opened
  }

  /// Goes on into the folder of images in the folder at `path`, which `isKept` makes where it is missing.
  init(firmwareIn path: CString, isKept: Bool) throws(StorageFailure) {
    _ = try checked(chdir(path.start))
    let name: StaticString = "firmware"
    // DEVIATION(unsafe-pointer): literals end with a zero.
    let start = UnsafeRawPointer(name.utf8Start).assumingMemoryBound(to: CChar.self)
    _ = try checked(mote_enter_folder(start, isKept ? 1 : 0))
    let opened = mote_open_folder()
    _ = try checked(opened)
    folder = opened
  }

  /// Opens the slot of a system.
  func openSlot(
    _ path: CString, other: CString, byteCount: UInt64, forWriting: Bool
  ) throws(StorageFailure) -> Int32 {
    let opened = mote_open_slot(path.start, other.start, Int64(clamping: byteCount), forWriting ? 1 : 0)
    _ = try checked(opened)
    return opened
  }

  /// For a process that goes on behind it.
  consuming func close() { _ = CLinux.close(folder) }

  // Elsewhere nothing is closed at the end: the child ends, too.

  func create(_ name: borrowing StorageName) throws(StorageFailure) -> Int32 {
    Int32(truncatingIfNeeded: try checked(name.withPointer { mote_open_in_folder($0, O_WRONLY | O_CREAT | O_EXCL) }))
  }

  func open(_ name: borrowing StorageName, forWriting: Bool) throws(StorageFailure) -> Int32 {
    let flags = forWriting ? O_RDWR : O_RDONLY
    return Int32(truncatingIfNeeded: try checked(name.withPointer { mote_open_in_folder($0, flags) }))
  }

  func close(_ file: Int32) throws(StorageFailure) { _ = try checked(CLinux.close(file)) }

  func length(of file: Int32) throws(StorageFailure) -> Int {
    var status = stat()
    _ = try checked(fstat(file, &status))
    return Int(truncatingIfNeeded: status.st_size)
  }

  func read(
    _ file: Int32, at offset: Int, into buffer: inout ByteBuffer, byteCountMax: Int
  ) throws(StorageFailure) -> Int {
    var free = buffer.freeSpan
    let count = try checked(
      free.withUnsafeMutableBufferPointer { pread(file, $0.baseAddress, min($0.count, byteCountMax), off_t(offset)) })
    buffer.commit(count)
    return count
  }

  func write(_ file: Int32, at offset: Int, _ bytes: Span<UInt8>) throws(StorageFailure) -> Int {
    let count = try checked(bytes.withUnsafeBufferPointer { pwrite(file, $0.baseAddress, $0.count, off_t(offset)) })
    // No file system does that with bytes to write; if one did, this would never end.
    guard count > 0 else { throw .failed }
    return count
  }

  func truncate(_ file: Int32, to byteCount: Int) throws(StorageFailure) {
    _ = try checked(ftruncate(file, off_t(byteCount)))
  }

  func flush(_ file: Int32) throws(StorageFailure) { _ = try checked(fsync(file)) }

  func rename(_ name: borrowing StorageName, to newName: borrowing StorageName) throws(StorageFailure) {
    _ = try checked(
      name.withPointer { old in newName.withPointer { new in CLinux.rename(old, new) } })
  }

  func remove(_ name: borrowing StorageName) throws(StorageFailure) {
    _ = try checked(name.withPointer { unlink($0) })
  }

  func flushFolder() throws(StorageFailure) { try flush(folder) }

  func freeByteCount() throws(StorageFailure) -> UInt64 {
    var sizes = statfs()
    _ = try checked(fstatfs(folder, &sizes))
    return UInt64(sizes.f_bavail) &* UInt64(truncatingIfNeeded: sizes.f_bsize)
  }

  func makeExecutable(_ file: Int32) throws(StorageFailure) { _ = try checked(fchmod(file, 0o700)) }

  func forgetCache(of file: Int32) { _ = posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED) }

  func forEachFile(_ body: (Span<UInt8>, Int) -> Void) throws(StorageFailure) {
    let isRead = Directory.forEachEntry(of: folder) { name in
      // What is removed meanwhile, or is no name that we give, is none of ours.
      guard let name = StorageName(checking: name) else { return true }
      var status = stat()
      let isFile =
        name.withPointer { lstat($0, &status) } == 0 && status.kind == S_IFREG
      if isFile { body(name.span, Int(truncatingIfNeeded: status.st_size)) }
      return true
    }
    guard isRead else { throw .failed }
  }
}

/// The result of a system call. None is repeated: a child for storage has all signals blocked, so nothing interrupts it
/// but its end.
@inline(never)
private func checked(_ result: Int) throws(StorageFailure) -> Int {
  guard result >= 0 else { throw Errno.last.storageFailure }
  return result
}

private func checked(_ result: Int32) throws(StorageFailure) -> Int { try checked(Int(result)) }

extension StorageName {
  fileprivate func withPointer<Result>(_ body: (UnsafePointer<CChar>) -> Result) -> Result {
    // DEVIATION(unsafe-pointer): the system takes names as C strings; this one ends with a zero.
    terminated.withUnsafeBufferPointer { bytes in
      guard let start = UnsafeRawPointer(bytes.baseAddress) else { preconditionFailure("a name has a zero") }
      return body(start.assumingMemoryBound(to: CChar.self))
    }
  }
}
