// What systemd is told, as sd_notify(3) and sd_watchdog_enabled(3) have it, by datagrams to the socket that it names.

import Bytes
import CLinux
import HostInterface

extension LinuxHost {
  /// By WATCHDOG_USEC, where WATCHDOG_PID means this process, or the supervisor that has started it: that one is the
  /// service's main process, and lets its program speak for both.
  public func managerPatience() -> TimeSpan {
    guard let value = Environment.value("WATCHDOG_USEC"), let microseconds = parseUnsigned(CString(value).span) else {
      return .zero
    }
    if let process = Environment.value("WATCHDOG_PID") {
      let number = parseUnsigned(CString(process).span)
      guard number == UInt64(getpid()) || (Supervision.isSupervised && number == UInt64(getppid())) else {
        return .zero
      }
    }
    return .milliseconds(Int64(UInt32(clamping: microseconds) / 1000))
  }

  /// A datagram to NOTIFY_SOCKET. Only the loop's own signs wait for nothing: of them there are more.
  public mutating func tellManager(_ news: ManagerNews) {
    // DEVIATION(unsafe-pointer): a literal, handed to C.
    let words = news.words
    mote_tell_manager(words.utf8Start, words.utf8CodeUnitCount, news == .reloading ? 1 : 0, news.waitMs)
  }
}

extension ManagerNews {
  fileprivate var words: StaticString {
    switch self {
    case .ready: "READY=1\nSTATUS=not connected"
    case .reloading: "RELOADING=1\nMONOTONIC_USEC="
    case .reloaded: "READY=1"
    case .stopping: "STOPPING=1"
    case .alive: "WATCHDOG=1"
    case .online: "STATUS=connected"
    case .offline: "STATUS=not connected"
    }
  }

  /// How long a manager that is busy is waited for, in milliseconds.
  fileprivate var waitMs: Int32 {
    switch self {
    case .ready, .reloading, .reloaded, .stopping: 1000
    case .alive, .online, .offline: 0
    }
  }
}
