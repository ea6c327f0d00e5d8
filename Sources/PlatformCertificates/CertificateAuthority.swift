// A certificate authority of the platform's own: for machines of one network, whose devices trust it and nobody else.

import Crypto
import Foundation
import SwiftASN1
import X509

/// An authority, or a certificate of a server, that cannot be used.
public struct CertificateError: Error, CustomStringConvertible {
  /// What is wrong with it.
  public let description: String

  /// What is wrong.
  public init(description: String) { self.description = description }
}

/// What a server answers to: it is in its certificate (RFC 5280, section 4.2.1.6).
public struct ServerNames: Equatable, Sendable {
  /// Host names.
  public var names: Set<String>
  /// Addresses, of 4 or 16 bytes.
  public var addresses: Set<[UInt8]>

  /// Names and addresses.
  public init(names: Set<String>, addresses: Set<[UInt8]>) {
    self.names = names
    self.addresses = addresses
  }

  fileprivate var alternativeNames: SubjectAlternativeNames {
    SubjectAlternativeNames(
      names.sorted().map { .dnsName($0) }
        + addresses.sorted { $0.lexicographicallyPrecedes($1) }
        .map { .ipAddress(ASN1OctetString(contentBytes: ArraySlice($0))) })
  }

  fileprivate init(_ alternative: SubjectAlternativeNames) {
    self.init(names: [], addresses: [])
    for name in alternative {
      switch name {
      case .dnsName(let text): names.insert(text)
      case .ipAddress(let bytes): addresses.insert(Array(bytes.bytes))
      default: break
      }
    }
  }
}

/// A certificate and its private key, each as PEM (RFC 7468).
public struct CertifiedKey: Sendable {
  /// What everybody may see.
  public let certificate: String
  /// What nobody else may.
  public let key: String

  /// A pair that was kept.
  public init(certificate: String, key: String) {
    self.certificate = certificate
    self.key = key
  }
}

/// An authority: it makes certificates for servers.
public struct CertificateAuthority {
  /// How long before it was made a certificate is valid: the clock of a board may stand at the time when its program
  /// was built.
  static let backdatedSeconds = 366.0 * 86_400
  /// How long an authority is good for: as long as boards are out in the field.
  static let authoritySeconds = 20 * 365.25 * 86_400
  /// How long a server's certificate is, from its first moment. Some systems take none that are for more than 825 days.
  static let serverSeconds = backdatedSeconds + 458 * 86_400
  /// How much of its time a server's certificate must have left at a start, or there is a new one.
  static let renewalSeconds = 400.0 * 86_400

  private let certificate: Certificate
  private let key: P256.Signing.PrivateKey

  /// A new authority. No other one has its name, which says whose it is.
  public init(of organization: String, now: Date) throws {
    key = P256.Signing.PrivateKey()
    let mark = UInt64.random(in: .min ... .max)
    let name = try DistinguishedName {
      OrganizationName("Mote platform \(organization)")
      CommonName("authority \(String(mark, radix: 16))")
    }
    let publicKey = Certificate.PublicKey(key.publicKey)
    certificate = try Certificate(
      version: .v3, serialNumber: Certificate.SerialNumber(), publicKey: publicKey,
      notValidBefore: now.addingTimeInterval(-Self.backdatedSeconds),
      notValidAfter: now.addingTimeInterval(Self.authoritySeconds), issuer: name, subject: name,
      extensions: try Certificate.Extensions {
        // It makes certificates of servers, and no other authorities.
        Critical(BasicConstraints.isCertificateAuthority(maxPathLength: 0))
        Critical(KeyUsage(keyCertSign: true, cRLSign: true))
        SubjectKeyIdentifier(hash: publicKey)
      }, issuerPrivateKey: Certificate.PrivateKey(key))
  }

  /// The authority that was made before.
  ///
  /// - Throws: `CertificateError` where these are no certificate and its key.
  public init(_ kept: CertifiedKey) throws(CertificateError) {
    guard let certificate = try? Certificate(pemEncoded: kept.certificate),
      let key = try? P256.Signing.PrivateKey(pemRepresentation: kept.key)
    else { throw CertificateError(description: "not a certificate and its key in PEM") }
    guard certificate.publicKey == Certificate.PublicKey(key.publicKey) else {
      throw CertificateError(description: "the key is that of another certificate")
    }
    self.certificate = certificate
    self.key = key
  }

  /// As PEM.
  public func kept() throws -> CertifiedKey {
    CertifiedKey(certificate: try pem(certificate), key: key.pemRepresentation + "\n")
  }

  /// A certificate for a server, with a new key.
  public func issue(for server: ServerNames, now: Date) throws -> CertifiedKey {
    let serverKey = P256.Signing.PrivateKey()
    let publicKey = Certificate.PublicKey(serverKey.publicKey)
    let start = now.addingTimeInterval(-Self.backdatedSeconds)
    let issued = try Certificate(
      version: .v3, serialNumber: Certificate.SerialNumber(), publicKey: publicKey, notValidBefore: start,
      notValidAfter: min(start.addingTimeInterval(Self.serverSeconds), certificate.notValidAfter),
      issuer: certificate.subject, subject: try DistinguishedName { CommonName("Mote platform") },
      extensions: try Certificate.Extensions {
        Critical(BasicConstraints.notCertificateAuthority)
        Critical(KeyUsage(digitalSignature: true))
        try ExtendedKeyUsage([.serverAuth])
        server.alternativeNames
        SubjectKeyIdentifier(hash: publicKey)
        AuthorityKeyIdentifier(
          keyIdentifier: try? certificate.extensions.subjectKeyIdentifier?.keyIdentifier)
      }, issuerPrivateKey: Certificate.PrivateKey(key))
    return CertifiedKey(certificate: try pem(issued), key: serverKey.pemRepresentation + "\n")
  }

  /// Whether a server's certificate still serves: it is of this authority, has that key, all the names, and time left.
  public func vouches(for kept: CertifiedKey, of server: ServerNames, now: Date) -> Bool {
    guard let issued = try? Certificate(pemEncoded: kept.certificate),
      let key = try? P256.Signing.PrivateKey(pemRepresentation: kept.key),
      let alternative = try? issued.extensions.subjectAlternativeNames
    else { return false }
    let present = ServerNames(alternative)
    let end = min(now.addingTimeInterval(Self.renewalSeconds), certificate.notValidAfter)
    return issued.publicKey == Certificate.PublicKey(key.publicKey)
      && certificate.publicKey.isValidSignature(issued.signature, for: issued)
      && issued.issuer == certificate.subject && server.names.isSubset(of: present.names)
      && server.addresses.isSubset(of: present.addresses) && issued.notValidBefore <= now
      && issued.notValidAfter >= end
  }

  private func pem(_ certificate: Certificate) throws -> String {
    try certificate.serializeAsPEM().pemString + "\n"
  }
}
