import Foundation
import PlatformCertificates
import Testing

@Suite struct CertificateAuthorityTests {
  private let now = Date(timeIntervalSince1970: 1_800_000_000)
  private let server = ServerNames(names: ["localhost"], addresses: [[192, 0, 2, 7]])
  private let day = 86_400.0

  private func authority() throws -> CertificateAuthority { try CertificateAuthority(of: "local0", now: now) }

  @Test func itsCertificatesServeUntilTheyAreOld() throws {
    let authority = try CertificateAuthority(try authority().kept())
    let issued = try authority.issue(for: server, now: now)
    #expect(issued.certificate.hasPrefix("-----BEGIN CERTIFICATE-----\n") && issued.key.contains("PRIVATE KEY"))
    #expect(authority.vouches(for: issued, of: server, now: now))
    #expect(authority.vouches(for: issued, of: server, now: now + 50 * day))
    // A year and more before its end there is a new one, at a start: a platform that runs for a year has a good one.
    #expect(!authority.vouches(for: issued, of: server, now: now + 60 * day))
    // A clock that stood years behind when it was made.
    #expect(!authority.vouches(for: issued, of: server, now: now - 400 * day))
  }

  @Test func theyAreForTheirNames() throws {
    let authority = try authority()
    let issued = try authority.issue(for: server, now: now)
    var fewer = server
    fewer.names = []
    #expect(authority.vouches(for: issued, of: fewer, now: now))
    var more = server
    more.addresses.insert([192, 0, 2, 8])
    #expect(!authority.vouches(for: issued, of: more, now: now))
    more = server
    more.names.insert("platform.local")
    #expect(!authority.vouches(for: issued, of: more, now: now))
  }

  @Test func othersCertificatesAreNotItsOwn() throws {
    let authority = try authority()
    let other = try CertificateAuthority(of: "local0", now: now)
    #expect(!authority.vouches(for: try other.issue(for: server, now: now), of: server, now: now))
    let (first, second) = (try authority.issue(for: server, now: now), try authority.issue(for: server, now: now))
    let mixed = CertifiedKey(certificate: first.certificate, key: second.key)
    #expect(!authority.vouches(for: mixed, of: server, now: now))
    #expect(!authority.vouches(for: CertifiedKey(certificate: "", key: ""), of: server, now: now))
  }

  @Test func whatIsNoAuthorityIsRefused() throws {
    let kept = try authority().kept()
    let other = try authority().kept()
    for pair in [
      CertifiedKey(certificate: kept.certificate, key: other.key), CertifiedKey(certificate: "x", key: kept.key),
      CertifiedKey(certificate: kept.certificate, key: ""),
    ] {
      #expect(throws: CertificateError.self) { try CertificateAuthority(pair) }
    }
  }
}
