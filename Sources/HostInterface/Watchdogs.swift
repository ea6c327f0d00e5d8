// Who watches that the agent works, and ends what hangs.

import Bytes

/// What the agent's watchers are told: the service manager and the hardware, where there are any.
public protocol HostWatchdogs: ~Copyable {
  /// Within which time the service manager wants a sign of life, each time; zero where it wants none.
  func managerPatience() -> TimeSpan

  /// Tells the service manager; nothing happens where there is none. What is lost is lost: the next sign of life comes
  /// in time.
  mutating func tellManager(_ news: ManagerNews)

  /// Opens the hardware's watchdog at this path, which starts it, and asks for a timeout of so many seconds. It must
  /// not be open.
  mutating func openWatchdog(_ device: Span<UInt8>, seconds: Int) -> WatchdogAnswer

  /// Feeds it: the machine is not restarted before its timeout has passed once more. False where that failed.
  mutating func feedWatchdog() -> Bool

  /// Lets go of it. Where `isDisarmed`, it is asked to stop first, which not all do; otherwise it goes on, and restarts
  /// the machine unless somebody opens it in time. Harmless where it is not open.
  mutating func closeWatchdog(isDisarmed: Bool)
}

/// What became of the wish to open a watchdog.
public enum WatchdogAnswer: Equatable, Sendable, BitwiseCopyable {
  /// It runs, with a timeout of so many seconds, which it has chosen itself; 0 where it does not say.
  case armed(seconds: Int)
  /// Another process has it.
  case busy
  /// There is none.
  case notFound
  /// We may not.
  case notPermitted
  /// The system cannot.
  case failed

  /// The word for a log line.
  public var name: StaticString {
    switch self {
    case .armed: "armed"
    case .busy: "busy"
    case .notFound: "not-found"
    case .notPermitted: "not-permitted"
    case .failed: "failed"
    }
  }
}

/// What a service manager is told.
public enum ManagerNews: UInt8, Equatable, Sendable, BitwiseCopyable {
  /// The agent has begun its work.
  case ready
  /// A new configuration is being read.
  case reloading
  /// It has been read, and is in force or not: the agent goes on.
  case reloaded
  /// The agent ends, and nobody takes its place.
  case stopping
  /// The loop turns.
  case alive
  /// Whether the server has accepted the connection.
  case online, offline
}
