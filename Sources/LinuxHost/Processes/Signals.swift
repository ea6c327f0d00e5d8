// Signals as events of the loop.

import CLinux

/// What a person or the service manager asks of the process.
public enum Signal: Equatable, Sendable {
  /// SIGTERM: end.
  case terminate
  /// SIGINT: end.
  case interrupt
  /// SIGHUP: read the configuration again.
  case reload

  /// The signal's name, for the log.
  public var name: StaticString {
    switch self {
    case .terminate: "SIGTERM"
    case .interrupt: "SIGINT"
    case .reload: "SIGHUP"
    }
  }
}

/// The process's signal handlers; there can be one of it at a time. A handler only sets a bit and wakes the loop.
struct Signals: ~Copyable {
  /// Readable when a signal has come.
  let wakeup: Int32
  private var pending: UInt32 = 0

  /// Installs the handlers and ignores SIGPIPE.
  init() throws(Errno) {
    wakeup = mote_install_signals()
    if wakeup < 0 { throw .last }
  }

  /// Collects what has come.
  ///
  /// - Returns: whether a child has ended.
  mutating func collect() -> Bool {
    let new = mote_take_signals(wakeup)
    pending |= new & ~UInt32(MOTE_SIGNAL_CHILD)
    return new & UInt32(MOTE_SIGNAL_CHILD) != 0
  }

  /// The most important signal that has not been taken yet: an end comes before a reload.
  mutating func take() -> Signal? {
    if take(MOTE_SIGNAL_TERMINATE) { return .terminate }
    if take(MOTE_SIGNAL_INTERRUPT) { return .interrupt }
    if take(MOTE_SIGNAL_RELOAD) { return .reload }
    return nil
  }

  private mutating func take(_ bit: Int) -> Bool {
    guard pending & UInt32(bit) != 0 else { return false }
    pending &= ~UInt32(bit)
    return true
  }

  /// Gives the signals back their default actions; `holding` has them wait for the next handlers.
  func remove(holding: Bool) {
    mote_remove_signals(wakeup, holding ? 1 : 0)
  }
}
