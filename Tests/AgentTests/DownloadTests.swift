import Bytes
import HostInterface
import TestSupport
import Testing

@testable import Agent

/// A download against servers that are as they should be, and all the others.
@Suite struct DownloadTests {
  private let file: [UInt8] = (0..<100_000).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }
  private let address = "http://files.example/fw?sig=secret"

  /// All of the file, or the part that is asked for, by a server that has ranges and entity tags.
  private func proper(_ request: WebRequest, _ file: [UInt8], tag: String? = "\"v1\"") -> WebAnswer {
    let tags = tag.map { ["ETag: \($0)"] } ?? []
    let isSame = !request.text.contains("If-Range") || request.has("If-Range: \(tag ?? "")")
    guard let offset = request.offset, isSame else {
      return WebAnswer(200, ["Content-Length: \(file.count)"] + tags, body: file)
    }
    guard offset < file.count else { return WebAnswer(416, ["Content-Range: bytes */\(file.count)"]) }
    let fields = [
      "Content-Length: \(file.count - offset)", "Content-Range: bytes \(offset)-\(file.count - 1)/\(file.count)",
    ]
    return WebAnswer(206, fields + tags, body: Array(file[offset...]))
  }

  private func chunked(_ body: [UInt8], by size: Int = 1000) -> [UInt8] {
    var bytes: [UInt8] = []
    for start in stride(from: 0, to: body.count, by: size) {
      let piece = body[start..<min(start + size, body.count)]
      bytes += Array(text: String(piece.count, radix: 16) + ";x=y\r\n") + piece + [13, 10]
    }
    return bytes + Array(text: "0\r\nX-Sum: 1\r\n\r\n")
  }

  @Test func aFileComesWhole() throws {
    let fetcher = try Fetcher { self.proper($0, self.file) }
    fetcher.begin(address)
    #expect(fetcher.run() == "complete" && fetcher.file == file)
    #expect(fetcher.byteCount == 100_000 && fetcher.host.requests.count == 1)
    #expect(fetcher.host.requests[0].server == "http://files.example:80" && fetcher.host.requests[0].offset == nil)
    fetcher.turn()
    #expect(!fetcher.host.isOpen, "its memory is given back")
  }

  @Test(arguments: [1, 7, 100, 4096, 20_000]) func piecesMayBeAnySize(_ count: Int) throws {
    let body = Array(file.prefix(20_000))
    let fetcher = try Fetcher { _ in WebAnswer(200, ["Transfer-Encoding: chunked"], body: self.chunked(body)) }
    fetcher.host.pieceBytes = count
    fetcher.takeMax = count * 2
    fetcher.begin(address)
    #expect(fetcher.run() == "complete" && fetcher.file == body)
  }

  @Test func theLinkIsClosedBeforeTheLastBytesAreTaken() throws {
    let fetcher = try Fetcher { self.proper($0, Array(self.file.prefix(3000))) }
    fetcher.takeMax = 0
    fetcher.begin(address)
    for _ in 0..<10 { fetcher.turn() }
    #expect(!fetcher.host.isOpen && fetcher.file.isEmpty && fetcher.deadline == .never)
    fetcher.takeMax = .max
    fetcher.turn()
    #expect(fetcher.state == .complete && fetcher.file == Array(file.prefix(3000)))
  }

  @Test func whoTakesNothingStopsTheServerAndNotTheLoop() throws {
    let fetcher = try Fetcher { self.proper($0, self.file) }
    fetcher.takeMax = 0
    fetcher.begin(address)
    for _ in 0..<20 { fetcher.turn() }
    // For an hour flash is busy: nobody is woken for nothing, and the server is not blamed.
    for _ in 0..<60 {
      #expect(fetcher.deadline > fetcher.host.time)
      fetcher.host.time = fetcher.host.time + .minutes(1)
      fetcher.turn()
    }
    fetcher.takeMax = .max
    #expect(fetcher.run() == "complete" && fetcher.host.requests.count == 1)
  }

  // MARK: Cuts

  @Test func everyCutIsResumed() throws {
    for tag in ["\"v1\"", "W/\"v1\"", nil] {
      let fetcher = try Fetcher {
        self.proper($0, self.file, tag: tag).cut(behind: min(17_000, 100_000 - $0.from))
      }
      fetcher.begin(address)
      #expect(fetcher.run() == "complete" && fetcher.file == file && fetcher.restarts == 0)
      #expect(fetcher.host.requests.count == 6)
      #expect(fetcher.host.requests.dropFirst().allSatisfy { $0.has("If-Range: \"v1\"") == (tag == "\"v1\"") })
    }
  }

  @Test func aCutInEveryPlaceOfTheHeadIsTriedAgain() throws {
    let whole = proper(WebRequest(server: "", text: "GET / HTTP/1.1", certificateTime: .init(milliseconds: 0)), file)
    for count in 0...54 {
      let fetcher = try Fetcher {
        var answer = self.proper($0, self.file)
        if $0.offset == nil { answer.bytes = Array(whole.bytes.prefix(count)) }
        return answer
      }
      fetcher.begin(address, at: 0)
      #expect(fetcher.run(for: .seconds(4)) == "waiting")
      #expect(fetcher.file.isEmpty)
    }
  }

  @Test func aDownloadBeginsWhereItIsTold() throws {
    let fetcher = try Fetcher { self.proper($0, self.file) }
    fetcher.file = Array(file.prefix(60_000))
    fetcher.begin(address, at: 60_000)
    #expect(fetcher.run() == "complete" && fetcher.file == file && fetcher.host.requests[0].offset == 60_000)
  }

  @Test func seekingAsksAnewOrPassesOver() throws {
    let fetcher = try Fetcher { self.proper($0, self.file) }
    fetcher.takeMax = 512
    fetcher.begin(address)
    while fetcher.file.count < 512 { fetcher.turn() }
    fetcher.file = Array(file.prefix(30_000))
    fetcher.seek(to: 30_000)
    fetcher.takeMax = .max
    while fetcher.file.count < 40_000 { fetcher.turn() }
    #expect(fetcher.host.requests.count == 1)
    fetcher.file = Array(file.prefix(20_000))
    fetcher.seek(to: 20_000)
    #expect(fetcher.run() == "complete" && fetcher.file == file)
    #expect(fetcher.host.requests.map(\.offset) == [nil, 20_000])
  }

  @Test func pausesGrowAndProgressEndsThat() throws {
    var isDown = true
    let fetcher = try Fetcher { isDown ? WebAnswer(bytes: []) : self.proper($0, self.file).cut(behind: 9000) }
    fetcher.begin(address)
    fetcher.run(for: .seconds(1000))
    // 5, 15, 60, 300 and 300 seconds, and up to a quarter more.
    #expect((4...6).contains(fetcher.host.requests.count))
    isDown = false
    fetcher.run(for: .seconds(450))
    #expect(fetcher.file.count >= 9000 && fetcher.host.requests.count > 6)
  }

  @Test func theDeadlineEndsAll() throws {
    let fetcher = try Fetcher("deadline = 2h") { _ in WebAnswer(503) }
    fetcher.begin(address)
    let start = fetcher.host.time
    #expect(fetcher.run() == "deadline 3")
    #expect(fetcher.host.time - start <= .minutes(121) && fetcher.host.requests.count < 30)
    #expect(!fetcher.host.isOpen)
  }

  @Test func noLinkIsTriedAgain() throws {
    var failures: [LinkFailure] = [.nameNotFound, .connectionRefused, .tlsUnknownIssuer]
    let fetcher = try Fetcher { self.proper($0, self.file) }
    fetcher.host.connect = { _, _ in failures.isEmpty ? nil : failures.removeFirst() }
    fetcher.begin("https://files.example/fw")
    #expect(fetcher.run() == "complete")
    #expect(fetcher.host.lines.contains { $0.contains("reason=tls-unknown-issuer") })
  }

  @Test func aClockThatIsSetMeanwhileMends() throws {
    let fetcher = try Fetcher { self.proper($0, self.file) }
    fetcher.certificateTime = WallTime(milliseconds: 0)
    fetcher.host.connect = { $1.milliseconds == 0 ? .tlsNotYetValid : nil }
    fetcher.begin("https://files.example/fw")
    #expect(fetcher.run(for: .seconds(60)) == "waiting")
    #expect(fetcher.host.lines.contains { $0.contains("reason=tls-not-yet-valid") })
    fetcher.certificateTime = WallTime(milliseconds: 1_800_000_000_000)
    #expect(fetcher.run() == "complete" && fetcher.file == file)
    #expect(fetcher.host.requests[0].server == "https://files.example:443")
  }

  // MARK: Slowness

  @Test func aServerThatSaysNothingIsLeft() throws {
    let fetcher = try Fetcher { _ in
      var answer = WebAnswer(bytes: [])
      answer.end = nil
      return answer
    }
    fetcher.begin(address)
    fetcher.run(for: .seconds(29))
    #expect(!fetcher.host.lines.contains { $0.contains("no-answer") })
    fetcher.run(for: .seconds(3))
    #expect(fetcher.host.lines.contains { $0.contains("transfer interrupted reason=no-answer") })
  }

  @Test func aServerThatDripsItsHeadIsLeft() throws {
    let fetcher = try Fetcher {
      var answer = self.proper($0, self.file)
      answer.bytesPerSecond = 1
      return answer
    }
    fetcher.begin(address)
    fetcher.run(for: .seconds(40))
    #expect(fetcher.host.lines.contains { $0.contains("reason=no-answer") })
  }

  @Test(arguments: [(60, true), (70, false)]) func theFloorIs64BytesASecond(_ rate: Int, _ isLeft: Bool) throws {
    let fetcher = try Fetcher {
      var answer = self.proper($0, self.file)
      answer.bytesPerSecond = rate
      return answer
    }
    fetcher.begin(address)
    fetcher.run(for: .seconds(600))
    #expect(fetcher.host.lines.contains { $0.contains("reason=too-slow") } == isLeft)
  }

  @Test func aServerThatStopsInTheMiddleIsLeft() throws {
    let fetcher = try Fetcher { self.proper($0, self.file).cut(behind: min(50_000, 100_000 - $0.from), nil) }
    fetcher.begin(address)
    #expect(fetcher.run() == "complete" && fetcher.file == file && fetcher.host.requests.count == 2)
  }

  @Test func theLimitIsKept() throws {
    let fetcher = try Fetcher("throttle = 2KB") { self.proper($0, self.file) }
    fetcher.begin(address)
    let start = fetcher.host.time
    #expect(fetcher.run() == "complete" && fetcher.host.requests.count == 1)
    let seconds = (fetcher.host.time - start).milliseconds / 1000
    #expect((46...52).contains(seconds), "\(seconds)")
  }
}
