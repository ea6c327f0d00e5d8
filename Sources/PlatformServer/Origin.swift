// Which pages may talk to the platform: those that it serves itself.

/// Whether a request comes from a page of another site, which a browser tells in its headers (RFC 6454, section 7;
/// Fetch Metadata, section 2.3). Programs that are no browsers tell nothing, and are no pages.
///
/// - Parameters:
///   - site: The header `Sec-Fetch-Site`.
///   - origin: The header `Origin`.
///   - authority: The header `Host`.
public func comesFromOtherSite(site: String?, origin: String?, authority: String?) -> Bool {
  if let site, site != "same-origin", site != "none" { return true }
  guard let origin = origin?.lowercased() else { return false }
  guard let authority = authority?.lowercased() else { return true }
  return origin != "http://\(authority)" && origin != "https://\(authority)"
}
