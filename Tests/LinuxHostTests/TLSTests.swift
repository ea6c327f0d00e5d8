import Bytes
import Foundation
import HostInterface
import TestSupport
import Testing

@testable import LinuxHost

@Suite struct TLSTests {
  private let pki = Certificates.shared
  private let now = WallTime(milliseconds: Int64(Date().timeIntervalSince1970 * 1000))

  private func driver(
    _ server: TLSServer, host: String = "localhost", security: LinkSecurity = .verified, serverName: String = "",
    trusted: String? = nil, days: Int64 = 0
  ) throws -> LinkDriver {
    let driver = try LinkDriver(
      host: host, port: server.port, security: security, serverName: serverName,
      trusted: trusted ?? pki.root.certificate,
      certificateTime: WallTime(milliseconds: now.milliseconds + days * 86_400_000 + 1000))
    driver.peer = server
    return driver
  }

  /// Sends a line and expects it in reverse, which proves that both directions work.
  private func expectEcho(_ driver: LinkDriver, _ text: String = "sesame") {
    #expect(driver.sendAll(Array(text: text + "\n")) == .moved(text.utf8.count + 1))
    #expect(driver.receive(text.utf8.count + 1).bytes.text == String(text.reversed()) + "\n")
  }

  // MARK: Good servers

  @Test func talksOverTLS() throws {
    let server = try TLSServer(pki.server)
    let driver = try driver(server)
    #expect(driver.open() == .open)
    #expect(driver.checkedCertificate)
    // The server's own is the newest of the chain.
    let age = System.wallMilliseconds() - (driver.certificateStart?.milliseconds ?? 0)
    #expect(age >= 0 && age < 2 * 86_400_000, "\(age) ms")
    expectEcho(driver)
    #expect(driver.description.contains(" address=127.0.0.1:\(server.port) tls=TLSv1."))
    #expect(driver.description.hasSuffix(" resumed=no"))
  }

  @Test func speaksTheOlderVersion() throws {
    let server = try TLSServer(pki.server, "-tls1_2")
    let driver = try driver(server)
    #expect(driver.open() == .open)
    expectEcho(driver)
    #expect(driver.description.contains("tls=TLSv1.2"))
  }

  @Test func refusesVersionsThatAreTooOld() throws {
    let server = try TLSServer(pki.server, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0")
    let driver = try driver(server)
    guard case .failed(let failure) = driver.open() else {
      Issue.record("TLS 1.1 was accepted")
      return
    }
    #expect([.tlsFailed, .tlsRefusedByPeer, .closedByPeer].contains(failure))
  }

  @Test func followsAChain() throws {
    let server = try TLSServer(pki.chained, chain: pki.between)
    let driver = try driver(server)
    #expect(driver.open() == .open)
    expectEcho(driver)
  }

  @Test func findsAnIntermediateThatIsTrustedItself() throws {
    let server = try TLSServer(pki.chained, chain: pki.between)
    #expect(try driver(server, trusted: pki.between.certificate).open() == .open)
  }

  @Test func understandsRSA() throws {
    let server = try TLSServer(pki.rsa)
    let driver = try driver(server)
    #expect(driver.open() == .open)
    expectEcho(driver)
  }

  @Test(arguments: ["ab12cd.messaging.example.test", "AB12CD.Messaging.Example.Test", "ab12cd.messaging.example.test."])
  func acceptsAWildcard(name: String) throws {
    let server = try TLSServer(pki.wildcard)
    #expect(try driver(server, host: "127.0.0.1", serverName: name).open() == .open)
  }

  @Test(arguments: ["messaging.example.test", "a.b.messaging.example.test", "localhost", "messaging"])
  func aWildcardIsOneLabel(name: String) throws {
    let server = try TLSServer(pki.wildcard)
    #expect(try driver(server, host: "127.0.0.1", serverName: name).open() == .failed(.tlsWrongName))
  }

  @Test func sendsTheName() throws {
    // The server ends a handshake whose SNI is another.
    let server = try TLSServer(
      pki.server, "-servername", "localhost", "-servername_fatal", "-cert2", pki.server.certificate, "-key2",
      pki.server.key)
    #expect(try driver(server).open() == .open)
    let other = try driver(server, serverName: "elsewhere.test")
    #expect(other.open() == .failed(.tlsRefusedByPeer))
    // unrecognized_name (RFC 6066 3).
    #expect(other.description.hasSuffix(" alert=unrecognized-name"))
  }

  @Test func checksAnAddressLikeAName() throws {
    #expect(try driver(try TLSServer(pki.server), host: "127.0.0.1").open() == .open)
    let other = try driver(try TLSServer(pki.wildcard), host: "127.0.0.1")
    #expect(other.open() == .failed(.tlsWrongName))
    let another = try driver(try TLSServer(pki.server), host: "127.0.0.1", serverName: "127.0.0.2")
    #expect(another.open() == .failed(.tlsWrongName))
  }

  @Test func trustsACertificateThatIsInTheStoreItself() throws {
    let server = try TLSServer(pki.selfSigned)
    #expect(try driver(server, trusted: pki.selfSigned.certificate).open() == .open)
    #expect(try driver(server).open() == .failed(.tlsUnknownIssuer))
  }

  // MARK: Bad servers

  @Test func namesAnUnknownIssuer() throws {
    let server = try TLSServer(pki.server)
    let driver = try driver(server, trusted: pki.wildcard.certificate)
    #expect(driver.open() == .failed(.tlsUnknownIssuer))
    #expect(driver.description.hasSuffix(" subject=\"localhost\" issuer=\"Mote, Test CA\""))
  }

  @Test func isNotFooledByAName() throws {
    let server = try TLSServer(pki.server)
    #expect(try driver(server, trusted: pki.impostor.certificate).open() == .failed(.tlsUnknownIssuer))
    // Both of that name: the right one is found behind the wrong one.
    let both = try pki.bundle("both.pem", [pki.impostor, pki.root])
    #expect(try driver(server, trusted: both).open() == .open)
  }

  @Test func prefersAnAuthorityThatIsValid() throws {
    let server = try TLSServer(pki.server)
    let renewed = try pki.bundle("renewed.pem", [pki.formerRoot, pki.root])
    #expect(try driver(server, trusted: renewed, days: 5).open() == .open)
    #expect(try driver(server, trusted: pki.formerRoot.certificate, days: 5).open() == .failed(.tlsExpired))
  }

  @Test func missesAnIntermediate() throws {
    let server = try TLSServer(pki.chained)
    let driver = try driver(server)
    #expect(driver.open() == .failed(.tlsUnknownIssuer))
    #expect(driver.description.contains("issuer=\"Mote, Test Intermediate\""))
  }

  @Test func namesAWrongName() throws {
    let driver = try driver(try TLSServer(pki.wildcard))
    #expect(driver.open() == .failed(.tlsWrongName))
    #expect(driver.description.contains("subject=\"messaging\""))
  }

  @Test func namesAnExpiredCertificate() throws {
    let driver = try driver(try TLSServer(pki.server), days: 11)
    #expect(driver.open() == .failed(.tlsExpired))
    #expect(!driver.checkedCertificate)
  }

  @Test func namesACertificateThatIsNotYetValid() throws {
    #expect(try driver(try TLSServer(pki.server), days: -1).open() == .failed(.tlsNotYetValid))
  }

  @Test func acceptsTheWholeValidity() throws {
    #expect(try driver(try TLSServer(pki.server), days: 9).open() == .open)
  }

  @Test func acceptsAnythingWhenTold() throws {
    let server = try TLSServer(pki.selfSigned)
    let driver = try driver(server, host: "127.0.0.1", security: .unverified, serverName: "elsewhere.test", days: 500)
    #expect(driver.open() == .open)
    #expect(!driver.checkedCertificate)
    expectEcho(driver)
  }

  @Test func saysThatThereAreNoTrustedCertificates() throws {
    let server = try TLSServer(pki.server)
    let missing = try driver(server, trusted: "/nowhere/ca.pem")
    #expect(missing.open() == .failed(.tlsTrustUnreadable))
    #expect(missing.description.hasSuffix(" trusted-certificates=\"/nowhere/ca.pem\""))
    let empty = try pki.bundle("empty.pem", [], before: "no certificate in here\n")
    #expect(try driver(server, trusted: empty).open() == .failed(.tlsTrustUnreadable))
    let body = String(repeating: "A", count: 4200)
    let tooLarge = "-----BEGIN CERTIFICATE-----\n\(body)\n-----END CERTIFICATE-----\n"
    for (others, failure) in [([], LinkFailure.tlsTrustUnreadable), ([pki.between], .tlsUnknownIssuer)] {
      let driver = try driver(server, trusted: try pki.bundle("large.pem", others, before: tooLarge))
      #expect(driver.open() == .failed(failure))
      #expect(driver.description.contains(" cause=certificate-too-large"))
    }
  }

  @Test func understandsARefusal() throws {
    let server = try TLSServer(pki.server, "-Verify", "1", "-verify_return_error", "-tls1_2")
    let driver = try driver(server)
    #expect(driver.open() == .failed(.tlsRefusedByPeer))
    // handshake_failure (RFC 8446 6).
    #expect(driver.description.hasSuffix(" alert=handshake-failure"))
  }

  @Test func doesNotMistakeSomethingElseForTLS() throws {
    let listener = Listener()
    let driver = try LinkDriver(
      host: "127.0.0.1", port: listener.port, security: .verified, trusted: pki.root.certificate)
    driver.begin(deadline: driver.now + .seconds(20))
    let peer = listener.accept()
    peer.send(Array(text: "HTTP/1.1 400 Bad Request\r\n\r\n"))
    #expect(driver.finishOpening() == .failed(.tlsFailed))
    #expect(driver.description.contains(" cause=not-tls tls-error=-0x"))
  }

  @Test func givesUpOnASilentServer() throws {
    let listener = Listener()
    let driver = try LinkDriver(
      host: "127.0.0.1", port: listener.port, security: .verified, trusted: pki.root.certificate)
    let start = driver.now
    driver.begin(deadline: start + .seconds(60))
    let peer = listener.accept()
    driver.turn()
    #expect(driver.poll() == .opening)
    driver.skip(.seconds(31))
    #expect(driver.poll() == .failed(.tlsTimeout))
    peer.end()
  }

  @Test func tellsAServerThatHangsUp() throws {
    let listener = Listener()
    let driver = try LinkDriver(
      host: "127.0.0.1", port: listener.port, security: .verified, trusted: pki.root.certificate)
    driver.begin(deadline: driver.now + .seconds(20))
    listener.accept().end()
    // Whether the system reports the end as a reset, for our greeting was never read, or as an end.
    #expect(driver.finishOpening() == .failed(.unanswered))
  }

  // MARK: Sessions

  @Test(arguments: [[], ["-tls1_2"], ["-tls1_2", "-no_ticket"]])
  func resumesASession(options: [String]) throws {
    let server = try TLSServer(pki.server, options: options)
    let driver = try driver(server)
    for turn in 0..<4 {
      #expect(driver.open() == .open)
      // With TLS 1.3 the ticket comes with the first bytes.
      expectEcho(driver)
      #expect(driver.description.hasSuffix(turn == 0 ? " resumed=no" : " resumed=yes"))
      #expect(driver.checkedCertificate == (turn == 0))
      driver.link.close()
    }
  }

  @Test func doesNotResumeForEver() throws {
    let server = try TLSServer(pki.server)
    let driver = try driver(server)
    #expect(driver.open() == .open)
    expectEcho(driver)
    driver.skip(.minutes(24 * 60 + 1))
    #expect(driver.open() == .open)
    #expect(driver.description.hasSuffix(" resumed=no"))
  }

  @Test func doesNotResumeWhenTheTrustHasChanged() throws {
    let server = try TLSServer(pki.server)
    let store = try pki.bundle("changing.pem", [pki.root])
    let driver = try driver(server, trusted: store)
    #expect(driver.open() == .open)
    expectEcho(driver)
    _ = try pki.bundle("changing.pem", [pki.impostor])
    #expect(driver.open() == .failed(.tlsUnknownIssuer))
  }

  @Test func survivesAServerThatForgot() throws {
    let first = try TLSServer(pki.server, "-tls1_2")
    let driver = try driver(first)
    #expect(driver.open() == .open)
    expectEcho(driver)
    driver.link.close()
    first.stop()
    let second = try TLSServer(pki.server, port: first.port, options: ["-tls1_2"])
    #expect(driver.open() == .open)
    #expect(driver.description.hasSuffix(" resumed=no"))
    expectEcho(driver)
    withExtendedLifetime(second) {}
  }

  // MARK: Transfers

  @Test func movesMuchInPieces() throws {
    let server = try TLSServer(pki.server)
    let driver = try driver(server)
    #expect(driver.open() == .open)
    let line = String(repeating: "0123456789abcdef", count: 900)
    for _ in 0..<5 { expectEcho(driver, line) }
  }
}
