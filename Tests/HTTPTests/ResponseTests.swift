import Bytes
import Foundation
import HTTP
import TestSupport
import Testing

@Suite struct ResponseTests {
  private func parse(_ text: String) throws(ResponseFault) -> ResponseHead? {
    try ResponseHead.parse(Array(text.utf8).span)
  }

  /// What a head says, in a line; "more" where it is not whole, or the fault.
  private func take(_ text: String) -> String {
    let bytes = Array(text.utf8)
    do throws(ResponseFault) {
      guard let head = try ResponseHead.parse(bytes.span) else { return "more" }
      var words = ["\(head.status)"]
      if let length = head.contentLength { words.append("length \(length)") }
      if head.isChunked { words.append("chunked") }
      if let range = head.range {
        words.append("range \(range.first.map { "\($0)-\(range.last)" } ?? "*")/\(range.total.map { "\($0)" } ?? "*")")
      }
      if head.isEncoded { words.append("encoded") }
      if head.isPage { words.append("page") }
      if let seconds = head.retryAfter { words.append("after \(seconds)") }
      if !head.entityTag.isEmpty { words.append("tag \(Array(bytes[head.entityTag]).text)") }
      if !head.location.isEmpty { words.append("to \(Array(bytes[head.location]).text)") }
      if head.byteCount < bytes.count { words.append("rest \(bytes.count - head.byteCount)") }
      return words.joined(separator: " ")
    } catch { return "\(error)" }
  }

  private func take(fields: String, status: Int = 200) -> String { take("HTTP/1.1 \(status) X\r\n\(fields)\r\n\r\n") }

  private let whole = """
    HTTP/1.1 206 Partial Content\r\nServer: nginx\r\nDate: Sat, 28 Nov 2026 07:00:00 GMT\r\n\
    Content-Type: application/octet-stream\r\nContent-Length: 24\r\nETag: "65b-1f4"\r\n\
    Content-Range: bytes 1000-1023/5000\r\nConnection: close\r\n\r\n
    """

  @Test func aHeadIsTakenWhereverItIsCut() {
    let expected = "206 length 24 range 1000-1023/5000 tag \"65b-1f4\""
    #expect(take(whole) == expected)
    #expect(take(whole + "body") == expected + " rest 4")
    let bytes = Array(whole.utf8)
    for count in bytes.indices { #expect(take(Array(bytes[..<count]).text) == "more", "cut at \(count)") }
    #expect(take(whole.replacingOccurrences(of: "\r\n", with: "\n")) == expected)
  }

  @Test(arguments: [
    ("HTTP/1.1 200 OK\r\n\r\n", "200"), ("HTTP/1.0 200 OK\r\n\r\n", "200"), ("HTTP/1.1 404\r\n\r\n", "404"),
    ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n", "100 rest 17"), ("HTTP/1.1 999 ?\r\n\r\n", "999"),
    ("HTTP/2 200\r\n\r\n", "malformed"), ("HTTP/1.1 20 OK\r\n\r\n", "malformed"),
    ("http/1.1 200 OK\r\n\r\n", "malformed"),
    ("HTTP/1.1 2000 OK\r\n\r\n", "malformed"), ("HTTP/1.1  200 OK\r\n\r\n", "malformed"),
    ("HTTP/1.1 -20 OK\r\n\r\n", "malformed"), ("HTTP/1.1\r\n\r\n", "malformed"), ("SSH-2.0", "malformed"),
    ("\r\nHTTP/1.1 200 OK\r\n\r\n", "malformed"), ("<html>", "malformed"), ("", "more"), ("H", "more"),
    ("HTTP/1.1 200 OK\r\nA: \0\r\n\r\n", "malformed"), ("\0", "malformed"),
  ])
  func aStatusLine(_ text: String, _ said: String) { #expect(take(text) == said) }

  @Test(arguments: [
    ("content-LENGTH:  5 ", "200 length 5"), ("Content-Length: 5\r\nContent-Length: 5", "200 length 5"),
    ("Content-Length: 5\r\nContent-Length: 6", "malformed"), ("Content-Length: 5, 5", "malformed"),
    ("Content-Length: -1", "malformed"), ("Content-Length: +1", "malformed"), ("Content-Length: ", "malformed"),
    ("Content-Length: 0x10", "malformed"), ("Content-Length: 99999999999999999999", "malformed"),
    ("Content-Length: 9223372036854775807", "malformed"),
    ("Content-Length: 4611686018427387904", "200 length 4611686018427387904"),
    ("Transfer-Encoding: Chunked", "200 chunked"), ("Transfer-Encoding: gzip, chunked", "malformed"),
    ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "malformed"),
    ("Transfer-Encoding: chunked\r\nContent-Length: 5", "malformed"),
    ("Content-Length: 5\r\nTransfer-Encoding: chunked", "malformed"),
    ("A: b\r\n c: d", "malformed"), ("A: b\r\n\tc: d", "malformed"), (" A: b", "malformed"), ("A : b", "malformed"),
    (": b", "malformed"), ("Ab", "malformed"), ("A:", "200"),
    ("Content-Encoding: gzip", "200 encoded"), ("Content-Encoding: identity", "200"),
    ("Content-Type: Text/HTML; charset=utf-8", "200 page"), ("Content-Type: application/octet-stream", "200"),
    ("ETag: \"a\"", "200 tag \"a\""), ("ETag: W/\"a\"", "200"), ("ETag: a", "200"), ("ETag: \"", "200"),
    ("ETag: \"\"", "200 tag \"\""), ("ETag: \"a b\"", "200"), ("ETag: \"a\"b\"", "200"),
    ("Location: /x", "200 to /x"), ("Location:", "200"),
  ])
  func aField(_ fields: String, _ said: String) { #expect(take(fields: fields) == said) }

  @Test(arguments: [
    ("bytes 0-0/1", "range 0-0/1"), ("bytes 5-9/10", "range 5-9/10"), ("Bytes 5-9/*", "range 5-9/*"),
    ("bytes */10", "range */10"), ("bytes */*", "range */*"), ("bytes 5-10/10", ""), ("bytes 9-5/10", ""),
    ("bytes 5-/10", ""), ("bytes -5/10", ""), ("bytes 5-9", ""), ("items 5-9/10", ""), ("bytes", ""), ("bytes /", ""),
    ("bytes/1", ""), ("bytes 5-9/", ""), ("bytes 5-9/x", ""), ("bytes 5-99999999999999999999/*", ""),
    ("bytes 0-9223372036854775807/*", ""), ("bytes 0-1/18446744073709551615", ""),
  ])
  func aRange(_ value: String, _ said: String) {
    #expect(take(fields: "Content-Range: \(value)", status: 206) == (said.isEmpty ? "206" : "206 \(said)"))
  }

  @Test(arguments: [
    ("Retry-After: 120", "after 120"), ("Retry-After: 0", "after 0"), ("Retry-After: soon", ""),
    ("Retry-After: -1", ""), ("Retry-After: 99999999999999999999", ""),
    ("Date: Sat, 28 Nov 2026 07:00:00 GMT\r\nRetry-After: Sat, 28 Nov 2026 07:00:30 GMT", "after 30"),
    ("Retry-After: Tue, 01 Dec 2026 00:00:00 GMT\r\nDate: Mon, 30 Nov 2026 23:59:59 GMT", "after 1"),
    ("Date: Thu, 31 Dec 2026 23:59:59 GMT\r\nRetry-After: Fri, 01 Jan 2027 00:00:00 GMT", "after 1"),
    ("Date: Tue, 29 Feb 2028 12:00:00 GMT\r\nRetry-After: Wed, 01 Mar 2028 12:00:00 GMT", "after 86400"),
    ("Date: Sun, 28 Feb 2027 12:00:00 GMT\r\nRetry-After: Mon, 01 Mar 2027 12:00:00 GMT", "after 86400"),
    ("Date: Sat, 28 Nov 2026 07:00:00 GMT\r\nRetry-After: Sat, 28 Nov 2026 06:00:00 GMT", "after 0"),
    ("Retry-After: Sat, 28 Nov 2026 07:00:30 GMT", ""),
    ("Date: now\r\nRetry-After: Sat, 28 Nov 2026 07:00:30 GMT", ""),
    ("Date: Sat, 28 Xxx 2026 07:00:00 GMT\r\nRetry-After: Sat, 28 Nov 2026 07:00:30 GMT", ""),
  ])
  func aWait(_ fields: String, _ said: String) {
    #expect(take(fields: fields, status: 503) == (said.isEmpty ? "503" : "503 \(said)"))
  }

  @Test func theFieldsHaveABound() {
    let start = "HTTP/1.1 200 OK\r\nA: "
    let fits = start + String(repeating: "x", count: 8192 - start.utf8.count - 4) + "\r\n\r\n"
    #expect(take(fits) == "200")
    #expect(take("\(fits.dropLast(2))x\r\n\r\n") == "tooLong")
    #expect(take(start + String(repeating: "x", count: 9000)) == "tooLong")
    let tag = "\"" + String(repeating: "t", count: 126) + "\""
    #expect(take(fields: "ETag: \(tag)") == "200 tag \(tag)")
    #expect(take(fields: "ETag: \(tag.dropLast())t\"") == "200")
  }

  // MARK: Bodies

  /// The body in `text` read in pieces of so many bytes, with what is behind it: `body|rest`.
  private func read(_ text: String, by pieceCount: Int, _ framing: BodyFraming) -> String {
    var framing = framing
    var input = makeBuffer(capacity: 65536)
    var rest = Array(text.utf8)[...]
    var body: [UInt8] = []
    do throws(ResponseFault) {
      while true {
        let piece = Array(rest.prefix(pieceCount))
        rest = rest.dropFirst(pieceCount)
        input.append(piece.span)
        while true {
          input.removeFirst(try framing.takeFraming(input.span))
          let count = framing.bodyCount(of: input.count)
          if count == 0 { break }
          body += Array(input.span.extracting(0..<count))
          input.removeFirst(count)
          framing.takeBody(count)
        }
        if framing.isEnded { return "\(body.text)|\(input.text)\(Array(rest).text)" }
        if piece.isEmpty { return framing.close(with: input.count) ? "\(body.text)|" : "\(body.text)…" }
      }
    } catch { return "\(body.text) \(error)" }
  }

  /// The same in pieces of every size, which must not matter.
  private func read(_ text: String, _ framing: BodyFraming) -> String {
    let all = read(text, by: 10_000, framing)
    for count in 1...max(1, min(text.utf8.count, 64)) { #expect(read(text, by: count, framing) == all) }
    return all
  }

  @Test(arguments: [
    ("3\r\nabc\r\n0\r\n\r\n", "abc|"), ("0\r\n\r\nrest", "|rest"), ("3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", "abcde|"),
    ("3;a=b;c=\"d\"\r\nabc\r\n0;x\r\n\r\n", "abc|"), ("3 \r\nabc\r\n0\r\n\r\n", "abc|"),
    ("3\nabc\n0\n\n", "abc|"), ("00003\r\nabc\r\n000\r\n\r\n", "abc|"), ("A\r\n0123456789\r\n0\r\n\r\n", "0123456789|"),
    ("a\r\n0123456789\r\n0\r\nX: y\r\nZ: w\r\n\r\n", "0123456789|"),
    ("3\r\nabc\r\n0\r\n", "abc…"), ("3\r\nabc\r\n", "abc…"), ("3\r\nab", "ab…"), ("3", "…"), ("", "…"),
    ("3\r\nabcd\r\n0\r\n\r\n", "abc malformed"), ("x\r\n", " malformed"), ("\r\n", " malformed"),
    ("-3\r\nabc", " malformed"), ("3g\r\nabc", " malformed"), ("3 3\r\nabc", " malformed"),
    ("FFFFFFFFFFFFFFFF\r\n", " malformed"), ("FFFFFFFFFFFFFFFFF\r\n", " malformed"), ("FFFFFFFFFFFFFF\r\nab", "ab…"),
  ])
  func chunks(_ text: String, _ said: String) { #expect(read(text, .chunked) == said) }

  @Test func whatBelongsToChunksHasBounds() {
    let long = String(repeating: "x", count: 1100)
    #expect(read("3;\(long.prefix(1000))\r\nabc\r\n0\r\n\r\n", .chunked) == "abc|")
    #expect(read("3;\(long)", by: 1, .chunked) == " tooLong")
    let trailers = String(repeating: "A: \(long.prefix(900))\r\n", count: 10)
    #expect(read("0\r\n\(trailers)\r\n", by: 64, .chunked) == " tooLong")
    #expect(read("0\r\n\(trailers.prefix(8 * 904))\r\n", by: 64, .chunked) == "|")
  }

  @Test func aLengthEndsABody() {
    #expect(read("abcde", BodyFraming(byteCount: 5)) == "abcde|")
    #expect(read("abcdefg", BodyFraming(byteCount: 5)) == "abcde|fg")
    #expect(read("abc", BodyFraming(byteCount: 5)) == "abc…")
    #expect(read("abc", BodyFraming(byteCount: 0)) == "|abc")
  }

  @Test func theLinkEndsABody() {
    #expect(read("abcde", BodyFraming(byteCount: nil)) == "abcde|")
    #expect(read("", BodyFraming(byteCount: nil)) == "|")
    var framing = BodyFraming(byteCount: nil)
    #expect(framing.lastsUntilClose && !framing.isAll(in: 1000))
    let isAll = framing.close(with: 3)
    #expect(isAll && framing.bodyCount(of: 3) == 3)
  }
}
