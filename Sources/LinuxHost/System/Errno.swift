// The system's error numbers. Each wrapper in this folder makes one system call and states its policy.

import CLinux

/// Why a system call failed: the value of C's `errno`.
struct Errno: Error, Equatable {
  /// The number, as in errno.h.
  let code: Int32

  init(code: Int32) { self.code = code }

  /// What the calling thread's last failed system call left behind.
  static var last: Errno { Errno(code: mote_errno()) }

  /// Nothing now; the same call may succeed later (POSIX allows either number).
  var isWouldBlock: Bool { code == EAGAIN || code == EWOULDBLOCK }
}
