// What can go wrong between an application and its platform, in words for the person at the terminal.

import NIOCore
import NIOPosix
import NIOSSL

/// A failure: where it was, what it was, and whose it is.
public struct ClientError: Error, Equatable, Sendable, CustomStringConvertible {
  /// Whose failure this is; a program's exit status follows from it.
  public enum Kind: Equatable, Sendable {
    /// A file cannot be read.
    case noInput
    /// A setting is missing or wrong.
    case configuration
    /// Nobody answers there, or the connection is lost.
    case unreachable
    /// The credentials are not accepted, or do not allow this.
    case denied
    /// There is no such device, type or request.
    case notFound
    /// The platform does not take what we sent.
    case refused
    /// The platform answered something that is not of the protocol.
    case malformed
    /// It took too long.
    case timeout
  }

  /// Whose failure this is.
  public let kind: Kind
  /// A URL, a file and line, a flag or a variable.
  public let place: String
  /// What was expected, or what happened.
  public let message: String

  /// A failure.
  public init(_ kind: Kind, _ place: String, _ message: String) {
    self.kind = kind
    self.place = place
    self.message = message
  }

  /// The place and the message.
  public var description: String { "\(place): \(message)" }
}

extension ClientError {
  /// What an error of the network at `place` means.
  init(network error: any Error, at place: String) {
    if let error = error as? ClientError {
      self = error
      return
    }
    let words = explain(error)
    let isLocal = ["127.0.0.1", "localhost", "[::1]"].contains { place.contains("://\($0):") }
    // Where nobody listens on this machine, the local platform is meant.
    let hint =
      isLocal && words == String(cString: strerror(ECONNREFUSED))
      ? ": is the platform running? 'motectl platform' starts it" : ""
    self.init(.unreachable, place, words + hint)
  }
}

/// An error of the network in words.
private func explain(_ error: any Error) -> String {
  switch error {
  case let error as NIOConnectionError:
    if let first = error.connectionErrors.first { return explain(first.error) }
    return "the name '\(error.host)' is not known"
  case let error as IOError: return String(cString: strerror(error.errnoCode))
  case let error as NIOSSLExtraError:
    return "TLS failed: the server's certificate is not for this host (\(error.description))"
  case NIOSSLError.handshakeFailed(let reason):
    let text = "\(reason)"
    guard text.contains("CERTIFICATE_VERIFY_FAILED") else { return "TLS failed: \(text)" }
    return
      "TLS failed: the server's certificate is not trusted: its issuer is unknown, or it is expired or not yet valid"
  case NIOSSLError.uncleanShutdown: return "the connection was cut"
  case ChannelError.connectTimeout: return "no connection within \(ApplicationLimits.connectTimeout.description)"
  case ChannelError.eof, ChannelError.ioOnClosedChannel: return "the connection was closed"
  default: return "\(error)"
  }
}

/// Bounds of what an application waits for and keeps.
public enum ApplicationLimits {
  /// How long a TCP connection may take.
  public static let connectTimeout = TimeAmount.seconds(10)
  /// How long the platform may take for an answer over HTTP.
  public static let answerTimeout = TimeAmount.seconds(60)
  /// The longest answer over HTTP, in bytes.
  public static let answerBytesMax = 16 << 20
  /// The largest packet, in bytes: the platform's largest payload with its topic.
  public static let packetBytesMax = 131_072 + 1024
  /// The largest payload, in bytes.
  public static let payloadBytesMax = 131_072
  /// Messages that wait for a slow reader.
  public static let messagesMax = 10_000
  /// The shortest and the longest pause before connecting again, in seconds.
  public static let reconnectSeconds = 1.0...60.0
  /// The longest file that is taken for a profile or a token, in bytes.
  public static let profileBytesMax = 65_536
}

extension TimeAmount {
  var description: String { "\(nanoseconds / 1_000_000_000) s" }
}
