// Whether images can be kept where the state is.

import Bytes
import CLinux
import HostInterface

/// The file system of the state folder.
public enum FirmwareStorage {
  // linux/magic.h, and flags of statfs(2).
  private static var inMemory: InlineArray<3, UInt32> { [0x0102_1994, 0x8584_58F6, 0x7371_7368] }
  private static var readOnly: Int { 1 }
  private static var noExecution: Int { 8 }

  /// Why images cannot be kept in the folder at `path`, a C string; nil where nothing speaks against it. `isExecuted`:
  /// they are programs. May wait for the file system.
  public static func obstacle(in path: StaticString, isExecuted: Bool) -> FirmwareObstacle? {
    // DEVIATION(unsafe-pointer): literals end with a zero.
    obstacle(
      in: CString(UnsafeRawPointer(path.utf8Start).assumingMemoryBound(to: CChar.self)), isExecuted: isExecuted)
  }

  static func obstacle(in folder: CString, isExecuted: Bool) -> FirmwareObstacle? {
    var sizes = statfs()
    guard statfs(folder.start, &sizes) == 0 else { return .notFound }
    let kind = UInt32(truncatingIfNeeded: sizes.f_type)
    // Of squashfs everything is on flash, and nothing can be written.
    if kind == inMemory[0] || kind == inMemory[1] { return .volatile }
    let flags = mote_file_system_flags(folder.start)
    if flags & readOnly != 0 || kind == inMemory[2] { return .readOnly }
    if access(folder.start, W_OK | X_OK) != 0 { return .notPermitted }
    return isExecuted && flags & noExecution != 0 ? .noExecution : nil
  }
}
