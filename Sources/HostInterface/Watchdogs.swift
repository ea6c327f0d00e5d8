// Who watches that the agent works, and ends what hangs.

import Bytes

/// What the agent's watchers are told: the service manager, where there is one.
public protocol HostWatchdogs: ~Copyable {
  /// Within which time the service manager wants a sign of life, each time; zero where it wants none.
  func managerPatience() -> TimeSpan

  /// Tells the service manager; nothing happens where there is none. What is lost is lost: the next sign of life comes
  /// in time.
  mutating func tellManager(_ news: ManagerNews)
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
