// Why a download is over without its file.

import HTTP

/// Where a download stands.
enum DownloadState: Equatable, Sendable {
  /// There is none.
  case idle
  /// The next attempt begins later.
  case waiting
  /// A server is being asked, or sends.
  case receiving
  /// The whole file has been taken.
  case complete
  /// The server has another file now. What was taken of the earlier one is worth nothing: whoever takes it begins anew
  /// with `seek(to: 0)`, or gives up.
  case changed
  /// It will not succeed.
  case failed(DownloadFailure)
}

/// Why a download does not succeed.
enum DownloadFailure: Equatable, Sendable, BitwiseCopyable {
  /// The address is not one of a file on a server.
  case address(AddressFault)
  /// The server does not give the file: a status of 4xx that waiting does not change, or one that nobody asked for.
  case refused
  /// The same (403) for an address with a query: as a rule its signature has expired.
  case expired
  /// Five redirects have led to another one.
  case redirectsTooMany
  /// A redirect leads from https to http.
  case redirectInsecure
  /// A redirect leads nowhere, or to what is no address.
  case redirectInvalid
  /// The server compresses although it was asked not to.
  case encoded
  /// The server gives another file, or all of it instead of the rest, again and again.
  case changed
  /// The server does not speak HTTP as it should, again and again.
  case malformed
  /// The time for all attempts together is over.
  case deadline

  /// What the platform is told (protocol 4.14): 3 connection lost, 5 unsupported image, 6 invalid address.
  var updateStatus: Int {
    switch self {
    case .changed, .malformed, .deadline: 3
    case .encoded: 5
    case .address, .refused, .expired, .redirectsTooMany, .redirectInsecure, .redirectInvalid: 6
    }
  }

  /// The word for a log line.
  var name: StaticString {
    switch self {
    case .address: "invalid-address"
    case .refused: "refused-by-server"
    case .expired: "address-expired"
    case .redirectsTooMany: "too-many-redirects"
    case .redirectInsecure: "insecure-redirect"
    case .redirectInvalid: "invalid-redirect"
    case .encoded: "compressed"
    case .changed: "file-changed"
    case .malformed: "malformed-answer"
    case .deadline: "deadline"
    }
  }
}
