// The seam between the platform's rules and the world. The service does no I/O and reads no clock: inputs are method
// calls with the time, and outputs are the calls below, made while an input is handled.
//
// Calls, and not a list of actions as a result: a message to a thousand subscribers would be a list of a thousand
// copies, while a call lends its bytes, which the network layer copies once to where they are sent from.

import Bytes
import PlatformProtocol

/// One connection, as long as the program runs; never used again.
public typealias ConnectionID = Int

/// One group of stored operations; they are numbered from 1. What is sent after commit 0 waits for nothing.
public typealias CommitNumber = UInt64

/// A moment on both clocks.
public struct Moment: Equatable, Sendable {
  /// For intervals.
  public let instant: Instant
  /// For time stamps.
  public let wall: WallTime

  /// A moment on both clocks.
  public init(instant: Instant, wall: WallTime) {
    self.instant = instant
    self.wall = wall
  }
}

/// How a peer reached us.
public struct Peer: Equatable, Sendable {
  /// Its address as text.
  public let address: String
  /// The port of ours it came to.
  public let port: Int
  /// Whether TLS protects the connection.
  public let isSecure: Bool
  /// Whether MQTT comes in WebSocket frames.
  public let isWebSocket: Bool

  /// A peer.
  public init(address: String, port: Int, isSecure: Bool, isWebSocket: Bool) {
    self.address = address
    self.port = port
    self.isSecure = isSecure
    self.isWebSocket = isWebSocket
  }
}

/// What the service asks for. None of these may call the service.
public protocol ServiceOutput: AnyObject {
  /// Sends `bytes`, whole packets, once `commit` is on the disk; what is sent to one connection keeps its order.
  func send(_ bytes: Span<UInt8>, to connection: ConnectionID, after commit: CommitNumber)
  /// Closes a connection when what was sent to it before is on its way. The service has forgotten it already.
  func close(_ connection: ConnectionID, code: ClosingCode, after commit: CommitNumber)
  /// Reads nothing more from a connection until `moment`; then hands over again what was not consumed.
  func pauseReading(_ connection: ConnectionID, until moment: Instant)
  /// Stores an operation and tells the commit that it will be part of; 0 if nothing is kept.
  func store(_ operation: StoreOperation) -> CommitNumber
  /// A message for an observer of this program.
  func notify(observer: ObserverID, _ observation: Observation)
  /// Ends an observer's stream. The service has forgotten it already.
  func end(observer: ObserverID)
  /// A change of state, for the log.
  func log(_ entry: ServiceLogEntry)
}

/// One line of the log: component, event and its values.
public struct ServiceLogEntry: Sendable {
  /// How important it is.
  public enum Level: Int, Sendable {
    /// Something to be mended.
    case error
    /// Something to look at.
    case warning
    /// A change of state.
    case info
    /// For those who look for a fault.
    case debug
  }

  /// How important it is.
  public let level: Level
  /// The part of the platform.
  public let component: String
  /// What happened.
  public let event: String
  /// Names and values.
  public let values: [(String, String)]

  /// A line of the log.
  public init(level: Level, component: String, event: String, values: [(String, String)]) {
    self.level = level
    self.component = component
    self.event = event
    self.values = values
  }
}
