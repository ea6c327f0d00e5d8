// The environment that the process was started with.

import Bytes
import CLinux

/// The environment of the process.
public enum Environment {
  /// Has /proc/PID/environ no longer show the variables that hold secrets, and closes the memory of this process to
  /// others of its user (PR_SET_DUMPABLE). The variables can be read here as before.
  public static func hideSecrets() { mote_hide_secrets() }

  /// Appends the value of variable `name` to `buffer`.
  ///
  /// - Returns: whether the variable is set, even if to nothing.
  public static func append(_ name: Span<UInt8>, to buffer: inout ByteBuffer) -> Bool {
    guard let value = PathText(name).withPointer({ UnsafePointer(getenv($0)) }) else { return false }
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
