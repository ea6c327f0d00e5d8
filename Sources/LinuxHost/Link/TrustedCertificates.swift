// Whether trusted certificates are where they are looked for, for a person who wants to know before a connection.

import Bytes
import CLinux

/// Why there are no trusted certificates.
public enum TrustFault: UInt8, Equatable, Sendable {
  /// There is no such file.
  case notFound
  /// We may not read it.
  case notPermitted
  /// The system reported another error.
  case inputOutput
  /// There is none in it.
  case noCertificate
  /// All of them have more bytes than are taken.
  case tooLarge
}

/// The places where trusted certificates are looked for.
public enum TrustedCertificates {
  /// Why there are none at `path`, the system's places where it is empty; nil where there is one. Reads all of them.
  public static func fault(at path: Span<UInt8>, from arena: inout Arena) throws(ArenaExhausted) -> TrustFault? {
    var store = try TrustStore(from: &arena)
    store.use(path)
    // Nobody's name: none will do, so that all are seen.
    if store.find(Span(), into: nil) { return nil }
    if store.hasTooLarge { return .tooLarge }
    guard let failure = store.openFailure else { return .noCertificate }
    switch failure.readFailure {
    case .notFound: return .notFound
    case .notPermitted: return .notPermitted
    default: return .inputOutput
    }
  }
}
