// The connection to the server: name look-up, TCP and TLS as one thing that is opened, used and closed.

import Bytes
import CLinux
import HostInterface

/// How a link is protected.
public enum LinkSecurity: Equatable, Sendable {
  /// Plain TCP.
  case plain
  /// TLS with a checked certificate.
  case verified
  /// TLS with any certificate: whoever is in between can read and change everything.
  case unverified
}

/// At most one connection at a time to one server.
///
/// Nothing here blocks. The loop registers what the link waits for (`register`), sleeps, tells what became ready
/// (`noteReady`) and calls again. As long as the last `receive` (`send`) has not answered `.wouldBlock`, the link does
/// not ask to be woken for input (output): a caller that stops earlier comes back by itself.
public struct Link: ~Copyable {
  private var state = LinkState.closed

  /// Remembers the server and takes all memory the link will use from `arena`, but for what mbedTLS allocates from the
  /// start of a handshake until `close`.
  ///
  /// `host` is a name or a numeric address. `serverName` is the name the certificate must have, sent as SNI; empty means
  /// `host`. `trustedCertificates` is the path of a PEM file or of a directory of such; empty means the system's store.
  public init(
    host: Span<UInt8>, port: UInt16, security: LinkSecurity, serverName: Span<UInt8>,
    trustedCertificates: Span<UInt8>, from arena: inout Arena
  ) throws(ArenaExhausted) {
  }

  /// Begins to open the link; any earlier one must have been closed. All addresses are tried; at `deadline` the whole
  /// attempt fails. `certificateTime` is the time certificates are checked against.
  public mutating func open(now: Instant, deadline: Instant, certificateTime: WallTime) {
  }

  /// Moves a link that is being opened forward and says where it stands. Makes at most one step of the handshake for
  /// what has arrived; never waits.
  public mutating func poll(now: Instant) -> LinkState { state }

  /// Sends the beginning of `bytes`, which must not be empty. After `.wouldBlock` the next call must offer the same bytes
  /// again, more behind them being welcome: with TLS they may be in an encrypted record already.
  public mutating func send(_ bytes: Span<UInt8>) -> LinkTransfer { .wouldBlock }

  /// Receives what is there into the free room of `buffer`, which must not be full.
  public mutating func receive(into buffer: inout ByteBuffer) -> LinkTransfer { .wouldBlock }

  /// Ends the link, telling the peer where that needs no waiting, and frees what the handshake allocated. Harmless without
  /// a link.
  public mutating func close() {
    state = .closed
  }

  /// Appends what is known about the open link or the last failure as ` key=value` pairs, each with a space before it.
  public func describe(into line: inout ByteBuffer) {
  }

  /// When `poll` has something to do even if nothing becomes ready; nil if never.
  public var deadline: Instant? { nil }

  /// Adds what the link waits for, at most two descriptors, to `set`.
  mutating func register(in set: inout PollSet) {
  }

  /// Takes over what `set` found out since `register`.
  mutating func noteReady(in set: borrowing PollSet) {
  }

  /// Whether the certificate of the open link was checked in full against the time given to `open`, which makes that time
  /// a plausible one. False for a resumed session.
  public var hasCheckedCertificate: Bool { false }
}
