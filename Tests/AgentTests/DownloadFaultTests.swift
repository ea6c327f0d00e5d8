import Bytes
import Foundation
import HostInterface
import TestSupport
import Testing

@testable import Agent

/// A download against servers that do what they should not.
@Suite struct DownloadFaultTests {
  private let file: [UInt8] = (0..<100_000).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }
  private let address = "http://files.example/fw?sig=secret"

  private func part(_ offset: Int, _ fields: [String] = [], upTo end: Int? = nil) -> WebAnswer {
    let last = end ?? file.count - 1
    return WebAnswer(
      206, ["Content-Range: bytes \(offset)-\(last)/\(file.count)"] + fields, body: Array(file[offset...last]))
  }

  private var whole: WebAnswer { WebAnswer(200, ["Content-Length: \(file.count)"], body: file) }

  /// Fetches from a server that cuts the first answer behind 40,000 bytes, and then answers like this.
  private func resume(_ answer: @escaping (WebRequest) -> WebAnswer) throws -> (said: String, fetcher: Fetcher) {
    let fetcher = try Fetcher { request in
      if request.offset == nil {
        return WebAnswer(200, ["Content-Length: 100000", "ETag: \"v1\""], body: self.file).cut(behind: 40_000)
      }
      return answer(request)
    }
    fetcher.begin(address)
    let said = fetcher.run()
    return (said, fetcher)
  }

  /// What becomes of a server that answers like this, always.
  private func fetch(_ address: String? = nil, _ answer: @escaping (WebRequest) -> WebAnswer) throws -> String {
    let fetcher = try Fetcher("", answer)
    fetcher.begin(address ?? self.address)
    return fetcher.run()
  }

  // MARK: Statuses

  @Test(arguments: [
    (400, 6), (401, 6), (404, 6), (405, 6), (407, 6), (410, 6), (451, 6), (204, 6), (300, 6), (304, 6), (101, 6),
    (600, 6),
  ])
  func aStatusThatWaitingDoesNotChange(_ status: Int, _ code: Int) throws {
    let fetcher = try Fetcher { _ in WebAnswer(status) }
    fetcher.begin(address)
    #expect(fetcher.run() == "refused-by-server \(code)" && fetcher.host.requests.count == 1)
    #expect(fetcher.host.lines.contains { $0.contains("transfer refused status=\(status)") })
  }

  @Test(arguments: [408, 425, 429, 500, 502, 503, 504, 599]) func aStatusThatPasses(_ status: Int) throws {
    var count = 0
    let fetcher = try Fetcher { _ in
      count += 1
      return count < 4 ? WebAnswer(status) : self.whole
    }
    fetcher.begin(address)
    #expect(fetcher.run() == "complete" && fetcher.file == file)
    #expect(fetcher.host.lines.contains { $0.contains("reason=busy status=\(status)") })
  }

  @Test(arguments: [("0", 1), ("7", 7), ("1800", 1800), ("99999", 3600)])
  func theServerSaysHowLongToWait(_ field: String, _ seconds: Int64) throws {
    var count = 0
    let fetcher = try Fetcher { _ in
      count += 1
      return count < 2 ? WebAnswer(503, ["Retry-After: \(field)"]) : self.whole
    }
    fetcher.begin(address)
    let start = fetcher.host.time
    #expect(fetcher.run() == "complete")
    #expect((seconds...(seconds + 2)).contains((fetcher.host.time - start).milliseconds / 1000))
  }

  @Test func aSignatureExpiresInTheMiddle() throws {
    let (said, fetcher) = try resume { _ in WebAnswer(403) }
    #expect(said == "address-expired 6" && fetcher.file == Array(file.prefix(40_000)))
    #expect(try fetch("http://files.example/fw") { _ in WebAnswer(403) } == "refused-by-server 6")
  }

  @Test func answersThatAreNoneYetArePassedOver() throws {
    let interim = Array(text: "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")
    for (count, said) in [(5, "complete"), (6, "malformed-answer 3")] {
      #expect(
        try fetch { _ in
          WebAnswer(bytes: Array(repeatElement(interim, count: count).joined()) + self.whole.bytes)
        } == said)
    }
  }

  // MARK: Ranges

  @Test func aServerWithoutRangesIsPutUpWith() throws {
    let (said, fetcher) = try resume { _ in self.whole }
    #expect(said == "complete" && fetcher.file == file && fetcher.restarts == 0)
  }

  @Test func aServerWithoutRangesOnABadLineIsGivenUp() throws {
    let (said, fetcher) = try resume { _ in self.whole.cut(behind: 30_000) }
    #expect(said == "file-changed 3" && fetcher.host.requests.count == 5)
  }

  @Test func aCacheMayBeginEarlier() throws {
    let (said, fetcher) = try resume { self.part($0.from - 1000) }
    #expect(said == "complete" && fetcher.file == file)
  }

  @Test func aPartMayEndEarlier() throws {
    let (said, fetcher) = try resume { self.part($0.from, upTo: min($0.from + 19_999, 99_999)) }
    #expect(said == "complete" && fetcher.file == file && fetcher.host.requests.count == 4)
  }

  @Test(arguments: [
    "Content-Range: bytes 40001-99999/100000", "Content-Range: bytes 0-39999/100000", "Content-Range: bytes */100000",
    "Content-Type: multipart/byteranges; boundary=x", "Content-Range: bytes 40000-99999/100000\r\nContent-Length: 5",
    "Content-Range: pages 1-2/3",
  ])
  func aPartThatIsNotWhatWasAskedFor(_ fields: String) throws {
    let (said, fetcher) = try resume { _ in WebAnswer(206, fields.components(separatedBy: "\r\n"), body: self.file) }
    #expect(said == "malformed-answer 3" && fetcher.file == Array(file.prefix(40_000)))
  }

  @Test func aPartUnasked() throws { #expect(try fetch { _ in self.part(0) } == "malformed-answer 3") }

  @Test func aRangeBehindTheEndMeansThatAllIsThere() throws {
    // Nobody told how long it is: only asking again shows that nothing is missing.
    let fetcher = try Fetcher { request in
      request.offset == nil
        ? WebAnswer(200, [], body: self.file) : WebAnswer(416, ["Content-Range: bytes */100000"])
    }
    fetcher.begin(address)
    #expect(fetcher.run() == "complete" && fetcher.file == file && fetcher.byteCount == 100_000)
    #expect(fetcher.host.requests.map(\.offset) == [nil, 100_000])
  }

  @Test func theLinkMayEndAFile() throws {
    // The same without ranges: it comes twice, and is taken once.
    let fetcher = try Fetcher { _ in WebAnswer(200, [], body: self.file) }
    fetcher.begin(address)
    #expect(fetcher.run() == "complete" && fetcher.file == file && fetcher.host.requests.count == 2)
  }

  // MARK: Another file

  @Test(arguments: [
    [200, 90_000], [200, 110_000], [416, 30_000], [416, 110_000], [412, 0],
  ])
  func anotherFileIsFetchedFromItsBeginning(_ answer: [Int]) throws {
    let (status, count) = (answer[0], answer[1])
    let other = [UInt8](repeating: 7, count: 5000)
    var requests = 0
    let fetcher = try Fetcher { request in
      requests += 1
      if requests == 1 {
        return WebAnswer(200, ["Content-Length: 100000", "ETag: \"v1\""], body: self.file).cut(behind: 40_000)
      }
      guard request.offset != nil else { return WebAnswer(200, ["Content-Length: 5000"], body: other) }
      return switch status {
      case 200: WebAnswer(200, ["Content-Length: \(count)"], body: self.file)
      case 416: WebAnswer(416, ["Content-Range: bytes */\(count)"])
      default: WebAnswer(412)
      }
    }
    fetcher.begin(address)
    #expect(fetcher.run() == "complete" && fetcher.file == other && fetcher.restarts == 1)
    #expect(fetcher.host.lines.contains { $0.contains("transfer file-changed") })
  }

  @Test(arguments: [["ETag: \"v2\""], ["Content-Range: bytes 40000-99999/100001"]])
  func aPartOfAnotherFileIsNotTaken(_ fields: [String]) throws {
    var requests = 0
    let fetcher = try Fetcher { request in
      requests += 1
      if requests == 2 {
        let range = fields[0].hasPrefix("ETag") ? ["Content-Range: bytes 40000-99999/100000"] : []
        return WebAnswer(206, range + fields, body: [UInt8](repeating: 1, count: 60_000))
      }
      let answer = WebAnswer(200, ["Content-Length: 100000", "ETag: \"v1\""], body: self.file)
      return requests == 1 ? answer.cut(behind: 40_000) : answer
    }
    fetcher.begin(address)
    #expect(fetcher.run() == "complete" && fetcher.file == file && fetcher.restarts == 1)
  }

  @Test func aFileThatAlwaysChangesIsGivenUp() throws {
    var count = 100_000
    let said = try fetch { request in
      count += 1
      return WebAnswer(200, ["Content-Length: \(count)", "ETag: \"\(count)\""], body: self.file).cut(behind: 10_000)
    }
    #expect(said == "file-changed 3")
  }

  // MARK: Bodies

  @Test func aCompressedFileIsNone() throws {
    #expect(try fetch { _ in WebAnswer(200, ["Content-Encoding: gzip"], body: self.file) } == "compressed 5")
  }

  @Test func lessThanPromisedIsResumed() throws {
    // An orderly end is no better than another one.
    let (said, fetcher) = try resume {
      self.part($0.from).cut(behind: min(25_000, 100_000 - $0.from), .closedByPeer)
    }
    #expect(said == "complete" && fetcher.file == file)
  }

  @Test func moreThanPromisedIsNotTaken() throws {
    let surplus = file + [1, 2, 3]
    let (said, fetcher) = try resume { request in
      let size = String(surplus.count - request.from, radix: 16)
      let body = Array(text: size + "\r\n") + surplus[request.from...] + Array(text: "\r\n0\r\n\r\n")
      return WebAnswer(
        206, ["Content-Range: bytes \(request.from)-99999/100000", "Transfer-Encoding: chunked"], body: body)
    }
    #expect(said == "malformed-answer 3" && fetcher.file.count <= 100_000)
    // What stands behind a length belongs to no file.
    let other = try Fetcher { _ in WebAnswer(200, ["Content-Length: 100000"], body: surplus) }
    other.begin(address)
    #expect(other.run() == "complete" && other.file == file)
  }

  @Test(arguments: ["zz\r\n", "5\r\nabcdefg\r\n", "\0\r\n"]) func brokenChunksAreBlamed(_ body: String) throws {
    #expect(
      try fetch { _ in WebAnswer(200, ["Transfer-Encoding: chunked"], body: Array(text: body)) }
        == "malformed-answer 3")
  }

  @Test(arguments: [
    "SSH-2.0-OpenSSH_9.2\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcde",
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nabcde",
    "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", "<html>\r\n\r\n",
    "HTTP/1.1 200 OK\r\nA: " + String(repeating: "x", count: 10_000),
  ])
  func whatIsNoHTTPIsBlamed(_ text: String) throws {
    let fetcher = try Fetcher { _ in WebAnswer(bytes: Array(text: text)) }
    fetcher.begin(address)
    #expect(fetcher.run() == "malformed-answer 3" && fetcher.host.requests.count == 4)
  }

  // MARK: Somebody in between

  @Test func aPortalIsWaitedFor() throws {
    let page = WebAnswer(200, ["Content-Type: text/html", "Content-Length: 12"], body: Array(text: "<html>log in"))
    for start in [true, false] {
      var pages = 2
      var isCut = !start
      let fetcher = try Fetcher { request in
        if isCut {
          isCut = false
          return self.whole.cut(behind: 40_000)
        }
        pages -= 1
        if pages >= 0 { return page }
        return request.offset.map { self.part($0) } ?? self.whole
      }
      fetcher.begin(address)
      #expect(fetcher.run() == "complete" && fetcher.file == file && fetcher.restarts == 0)
      #expect(fetcher.host.lines.contains { $0.contains("reason=web-page") })
    }
    // In the end what the bytes are decides.
    let fetcher = try Fetcher { _ in page }
    fetcher.begin(address)
    #expect(fetcher.run() == "complete" && fetcher.file.text == "<html>log in" && fetcher.host.requests.count == 4)
  }

  // MARK: Redirects

  @Test(arguments: [301, 302, 303, 307, 308]) func aRedirectIsFollowed(_ status: Int) throws {
    let fetcher = try Fetcher { request in
      request.server == "http://files.example:80"
        ? WebAnswer(status, ["Location: https://cdn.example:8443/x?t=1#f"], body: Array(text: "moved")) : self.whole
    }
    fetcher.begin(address)
    #expect(fetcher.run() == "complete" && fetcher.file == file)
    #expect(fetcher.host.requests.map(\.server) == ["http://files.example:80", "https://cdn.example:8443"])
    #expect(fetcher.host.requests[1].path == "/x?t=1" && fetcher.host.requests[1].has("Host: cdn.example:8443"))
  }

  @Test func eachPartMayBeElsewhere() throws {
    // The targets' addresses are good once, and each mirror has its own entity tag.
    var count = 0
    let fetcher = try Fetcher { request in
      if request.server == "http://files.example:80" {
        count += 1
        return WebAnswer(302, ["Location: http://mirror\(count).example/fw?t=\(count)"])
      }
      guard request.server == "http://mirror\(count).example:80", !request.text.contains("If-Range") else {
        return WebAnswer(403)
      }
      let tag = "ETag: \"\(count)\""
      guard let offset = request.offset else {
        return WebAnswer(200, ["Content-Length: 100000", tag], body: self.file).cut(behind: 30_000)
      }
      return self.part(offset, [tag]).cut(behind: min(30_000, 100_000 - offset))
    }
    fetcher.begin(address)
    #expect(fetcher.run() == "complete" && fetcher.file == file && fetcher.restarts == 0)
    #expect(fetcher.host.requests.count == 8)
  }

  @Test func redirectsEnd() throws {
    for (length, said) in [(5, "complete"), (6, "too-many-redirects 6")] {
      let fetcher = try Fetcher { request in
        let step = Int(request.path.dropFirst()) ?? 0
        return step < length ? WebAnswer(302, ["Location: \(step + 1)"]) : self.whole
      }
      fetcher.begin("http://files.example/0")
      #expect(fetcher.run() == said)
    }
    #expect(try fetch { _ in WebAnswer(302, ["Location: /fw"]) } == "too-many-redirects 6")
  }

  @Test(arguments: [
    ("http://cdn.example/x", "insecure-redirect 6"), ("ftp://cdn.example/x", "invalid-redirect 6"),
    ("https://u:p@cdn.example/x", "invalid-redirect 6"), ("https://", "invalid-redirect 6"),
    ("/a b", "invalid-redirect 6"), ("", "invalid-redirect 6"), ("//cdn.example:0/", "invalid-redirect 6"),
    ("/" + String(repeating: "x", count: 4090), "invalid-redirect 6"),
  ])
  func aRedirectThatIsNotFollowed(_ target: String, _ said: String) throws {
    #expect(try fetch("https://files.example/fw") { _ in WebAnswer(302, ["Location: \(target)"]) } == said)
    #expect(try fetch("https://files.example/fw") { _ in WebAnswer(302) } == "invalid-redirect 6")
  }

  // MARK: Addresses

  @Test(arguments: ["ftp://a/b", "http://u:p@a/", "http://a b/", "http://a/" + String(repeating: "x", count: 5000)])
  func anAddressThatIsNone(_ address: String) throws {
    #expect(try fetch(address) { _ in self.whole } == "invalid-address 6")
    #expect(Download.fault(of: Array(address.utf8).span) != nil)
    #expect(Download.fault(of: Array(self.address.utf8).span) == nil)
  }

  @Test func nothingSecretIsLogged() throws {
    let fetcher = try Fetcher { request in
      request.server == "http://files.example:80"
        ? WebAnswer(302, ["Location: http://cdn.example/private?t=secret"]) : WebAnswer(403)
    }
    fetcher.begin("http://files.example/private?sig=secret")
    #expect(fetcher.run() == "address-expired 6")
    #expect(fetcher.host.lines.contains { $0.contains("server=files.example") })
    #expect(!fetcher.host.lines.contains { $0.contains("secret") || $0.contains("private") })
  }
}
