// The hardware's watchdog, as the kernel's Documentation/watchdog/watchdog-api.rst has it.

import Bytes
import CLinux
import HostInterface

extension LinuxHost {
  /// open(2), WDIOC_SETTIMEOUT, and WDIOC_GETTIMEOUT for what it has come to.
  public mutating func openWatchdog(_ device: Span<UInt8>, seconds: Int) -> WatchdogAnswer {
    precondition(watchdog < 0, "the watchdog is open")
    var granted = Int32(truncatingIfNeeded: seconds)
    watchdog = PathText(device).withPointer { mote_open_watchdog($0, &granted) }
    guard watchdog < 0 else { return .armed(seconds: Int(max(0, granted))) }
    switch mote_errno() {
    case EBUSY: return .busy
    case ENOENT, ENXIO, ENODEV, ENOTDIR: return .notFound
    case EACCES, EPERM, EROFS: return .notPermitted
    default: return .failed
    }
  }

  /// write(2) of a byte that is no `V`.
  public mutating func feedWatchdog() -> Bool { mote_feed_watchdog(watchdog, 0) == 0 }

  /// close(2), with `V` in front of it where it `isDisarmed`: the magic close.
  public mutating func closeWatchdog(isDisarmed: Bool) {
    guard watchdog >= 0 else { return }
    if isDisarmed { _ = mote_feed_watchdog(watchdog, CChar(UInt8(ascii: "V"))) }
    _ = CLinux.close(watchdog)
    watchdog = -1
  }
}
