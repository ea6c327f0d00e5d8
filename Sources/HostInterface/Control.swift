// Local programs that ask the running agent something.

import Bytes

/// The agent's control socket, with one client at a time; others wait in the order in which they came.
///
/// What a client says, and how long it may take for it, is the caller's affair: a host only moves bytes.
public protocol HostControl: ~Copyable {
  /// Whether anything has happened since `takeControlNews`: a client has come or left, has said something, or takes
  /// more of what it is told. Asked in each turn of the loop.
  var hasControlNews: Bool { get }

  /// Takes note of the news; true when clients may wait for their turn.
  mutating func takeControlNews() -> Bool

  /// Takes the next client, when there is none; false when none waits.
  mutating func acceptControlClient() -> Bool

  /// Receives what the client has said into the free room of `buffer`, which must not be full. The results are those of
  /// `HostLinks.receive`; after `.ended(.closedByPeer)` the client may still be told something.
  ///
  /// Until it answers `.wouldBlock` the host does not wake the loop for input.
  mutating func receiveControl(into buffer: inout ByteBuffer) -> LinkTransfer

  /// Sends the client the beginning of `bytes`, which must not be empty. The results are those of `HostLinks.send`.
  mutating func sendControl(_ bytes: Span<UInt8>) -> LinkTransfer

  /// Lets the client go. Harmless without one.
  mutating func closeControl()

  /// What the system says about the agent itself.
  mutating func ownProcess() -> OwnProcess

  /// Appends the program's version.
  func appendVersion(to buffer: inout ByteBuffer)
}

/// The agent as the system sees it.
public struct OwnProcess: Sendable, BitwiseCopyable {
  /// Its number.
  public let identifier: Int
  /// The memory that it has now, in bytes, with what it shares with others; 0 where the system does not tell.
  public let residentBytes: Int

  /// A process of this number and size.
  public init(identifier: Int, residentBytes: Int) {
    self.identifier = identifier
    self.residentBytes = residentBytes
  }
}

/// Why there is no control socket.
public enum ControlFailure: UInt8, Error, Sendable, BitwiseCopyable {
  /// The folder is missing.
  case notFound
  /// We may not write to the folder, or may not give the socket to its group or owner.
  case notPermitted
  /// The file system is read-only.
  case readOnly
  /// Another agent has it.
  case inUse
  /// Something else than a socket has its name.
  case notASocket
  /// The path is longer than a socket's may be (`ControlFailure.pathBytesMax`).
  case pathTooLong
  /// There is no such group or user.
  case unknownName
  /// The system reported another error.
  case systemError

  /// The longest path of a socket, in bytes (unix(7): 108 with the zero behind it).
  public static var pathBytesMax: Int { 107 }

  /// The word for a log line.
  public var name: StaticString {
    switch self {
    case .notFound: "not-found"
    case .notPermitted: "not-permitted"
    case .readOnly: "read-only"
    case .inUse: "in-use"
    case .notASocket: "not-a-socket"
    case .pathTooLong: "path-too-long"
    case .unknownName: "unknown-name"
    case .systemError: "system-error"
    }
  }
}
