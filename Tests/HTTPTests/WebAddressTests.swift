import Bytes
import HTTP
import TestSupport
import Testing

@Suite struct WebAddressTests {
  /// What an address comes to, and what is asked for: `tls host port | request`.
  private func take(_ text: String, from offset: UInt64 = 0) -> String {
    let buffer = makeBuffer(Array(text.utf8), capacity: 8192)
    do throws(AddressFault) {
      let address = try WebAddress(parsing: buffer.span)
      var request = makeBuffer(capacity: 8192)
      request.appendRequest(address, of: buffer, from: offset, entityTag: makeBuffer(), isTagged: true)
      let lines = request.text.split(separator: "\r\n", omittingEmptySubsequences: false)
      let host = Array(buffer.span.extracting(address.host)).text
      return "\(address.isSecure ? "tls" : "plain") \(host) \(address.port) | \(lines[0]) | \(lines[1])"
    } catch { return "\(error)" }
  }

  @Test(arguments: [
    ("http://a/", "plain a 80 | GET / HTTP/1.1 | Host: a"),
    ("http://a", "plain a 80 | GET / HTTP/1.1 | Host: a"),
    ("HTTPS://A.example:443/x", "tls A.example 443 | GET /x HTTP/1.1 | Host: A.example"),
    ("https://a:80/", "tls a 80 | GET / HTTP/1.1 | Host: a:80"),
    ("http://a:80/", "plain a 80 | GET / HTTP/1.1 | Host: a"),
    ("http://a:65535", "plain a 65535 | GET / HTTP/1.1 | Host: a:65535"),
    ("http://a?q=1", "plain a 80 | GET /?q=1 HTTP/1.1 | Host: a"),
    ("http://a#b", "plain a 80 | GET / HTTP/1.1 | Host: a"),
    ("http://a/b?c#d?e", "plain a 80 | GET /b?c HTTP/1.1 | Host: a"),
    // Signed addresses stay as they are.
    (
      "https://b.s3.example/i%20m?X-Sig=a%2Fb%3D&x=%41+1",
      "tls b.s3.example 443 | GET /i%20m?X-Sig=a%2Fb%3D&x=%41+1 HTTP/1.1 | Host: b.s3.example"
    ),
    ("http://a/u@v:w", "plain a 80 | GET /u@v:w HTTP/1.1 | Host: a"),
    ("http://[::1]/", "plain ::1 80 | GET / HTTP/1.1 | Host: [::1]"),
    ("http://[fe80::1%25eth0]:8080/x", "plain fe80::1%25eth0 8080 | GET /x HTTP/1.1 | Host: [fe80::1]:8080"),
    ("http://192.0.2.1:8080/x", "plain 192.0.2.1 8080 | GET /x HTTP/1.1 | Host: 192.0.2.1:8080"),
  ])
  func anAddressIsTakenApart(_ text: String, _ parts: String) { #expect(take(text) == parts) }

  @Test(arguments: [
    ("", "scheme"), ("http:", "scheme"), ("http:/a", "scheme"), ("ftp://a/", "scheme"),
    ("file:///etc/passwd", "scheme"),
    ("httpss://a/", "scheme"), ("mqtt://a", "scheme"), ("/a", "scheme"), ("//a/b", "scheme"), ("a", "scheme"),
    ("http://", "host"), ("http:///a", "host"), ("http://?a", "host"), ("http://:80/", "host"), ("http://[]/", "host"),
    ("http://[::1/", "host"), ("http://[::1]a/", "host"), ("http://a%41/", "host"), ("http://ä/", "host"),
    ("http://a,b/", "host"), ("http://u@a/", "credentials"), ("http://u:p@a/", "credentials"),
    ("http://@a/", "credentials"), ("http://a:/", "port"), ("http://a:0/", "port"), ("http://a:65536/", "port"),
    ("http://a:8x/", "port"), ("http://a:-1/", "port"), ("http://a:99999999999999999999/", "port"),
    ("http://a/ b", "character"), ("http://a/\t", "character"), ("http://a/\r\nX: y", "character"),
    ("http://a\\b/", "character"), ("http://a/\u{7F}", "character"), (" http://a/", "character"),
    ("http://a/\0", "character"),
  ])
  func whatIsNoneIsRefused(_ text: String, _ fault: String) { #expect(take(text) == fault) }

  @Test func anAddressHasABound() {
    #expect(take("http://a/" + String(repeating: "x", count: 4087)).hasPrefix("plain a"))
    #expect(take("http://a/" + String(repeating: "x", count: 4088)) == "tooLong")
    #expect(take("http://" + String(repeating: "x", count: 253)).hasPrefix("plain xxx"))
    #expect(take("http://" + String(repeating: "x", count: 254)) == "host")
  }

  @Test func everyCutOfAnAddressIsTakenOrRefused() {
    let text = "https://[fe80::1%25e]:8443/a/b?c=d#e"
    for count in 0...text.utf8.count { _ = take(String(text.prefix(count))) }
    #expect(take(text).hasPrefix("tls fe80::1%25e 8443"))
  }

  @Test func theRestIsAskedForWithTheTagOfTheFile() throws {
    let text = makeBuffer(Array("http://a/f?s".utf8))
    let tag = makeBuffer(Array("\"v1\"".utf8))
    let address = try WebAddress(parsing: text.span)
    var request = makeBuffer(capacity: 8192)
    let fixed = "GET /f?s HTTP/1.1\r\nHost: a\r\nUser-Agent: mote\r\nAccept-Encoding: identity\r\nConnection: close\r\n"
    request.appendRequest(address, of: text, from: 0, entityTag: tag, isTagged: true)
    #expect(request.text == fixed + "\r\n")
    request.removeAll()
    request.appendRequest(address, of: text, from: 1000, entityTag: tag, isTagged: true)
    #expect(request.text == fixed + "Range: bytes=1000-\r\nIf-Range: \"v1\"\r\n\r\n")
    request.removeAll()
    request.appendRequest(address, of: text, from: 1000, entityTag: tag, isTagged: false)
    #expect(request.text == fixed + "Range: bytes=1000-\r\n\r\n")
  }

  // RFC 3986, section 5.4, but for segments of dots.
  @Test(arguments: [
    ("http://a/b/c/d?q", "g", "http://a/b/c/g"), ("http://a/b/c/d?q", "g/", "http://a/b/c/g/"),
    ("http://a/b/c/d?q", "/g", "http://a/g"), ("http://a/b/c/d?q", "//g", "http://g"),
    ("http://a/b/c/d?q", "?y", "http://a/b/c/d?y"), ("http://a/b/c/d?q", "g?y", "http://a/b/c/g?y"),
    ("http://a/b/c/d?q", "g#s", "http://a/b/c/g#s"), ("http://a/b/c/d?q/x", "g", "http://a/b/c/g"),
    ("http://a/b/c/d?q", "https://g:1/h", "https://g:1/h"), ("http://a/b#f", "#s", "http://a/b#s"),
    ("https://a", "g", "https://a/g"), ("https://a?q", "g", "https://a/g"), ("https://a:8/x", "//b/y", "https://b/y"),
    ("http://a/b", "ftp://c/d", "ftp://c/d"), ("http://a/b", "c:d", "c:d"), ("http://a/b", "c?d:e", "http://a/c?d:e"),
  ])
  func aRedirectLeads(_ base: String, _ reference: String, _ target: String) throws {
    var text = makeBuffer(Array(base.utf8))
    let source = makeBuffer(Array("xx\(reference)yy".utf8))
    let address = try WebAddress(parsing: text.span)
    address.resolve(2..<(2 + reference.utf8.count), in: source, into: &text)
    #expect(text.text == target)
  }
}
