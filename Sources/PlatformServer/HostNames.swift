// Which names this platform answers to: a page of another site could have its own name lead to this machine, and would
// be of the same origin then (DNS rebinding).

import NIOCore

/// The host names that requests may be for.
public struct HostNames: Sendable {
  private let names: [String]

  /// Addresses and `localhost`, and besides them `names` and what is below them.
  public init(_ names: [String]) { self.names = names.map(HostNames.plain) }

  private static func plain(_ name: String) -> String {
    let name = name.lowercased()
    return name.hasSuffix(".") ? String(name.dropLast()) : name
  }

  /// Whether `authority`, the header `Host`, is one of them. A page's requests have one always; other clients' may not.
  public func include(_ authority: String?) -> Bool {
    guard let authority else { return true }
    let host = HostNames.plain(HostNames.withoutPort(authority))
    // No look-up leads to an address.
    if host == "localhost" || (try? SocketAddress(ipAddress: host, port: 0)) != nil { return true }
    return names.contains { host == $0 || host.hasSuffix("." + $0) }
  }

  private static func withoutPort(_ authority: String) -> String {
    if authority.hasPrefix("["), let end = authority.firstIndex(of: "]") {
      return String(authority[authority.index(after: authority.startIndex)..<end])
    }
    return String(authority.prefix { $0 != ":" })
  }
}
