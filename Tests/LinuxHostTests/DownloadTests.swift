import AgentConfiguration
import Bytes
import CLinux
import Foundation
import HostInterface
import TestSupport
import Testing

@testable import Agent
@testable import LinuxHost

/// A download over the real links of this machine. The clock can be moved ahead of what an agent would sleep.
private final class Fetcher {
  var host: LinuxHost
  private var download: Download
  private let settings: Settings
  private var log: LogWriter
  private var ahead = TimeSpan.zero
  private var arena: Arena
  var certificateTime = WallTime(milliseconds: System.wallMilliseconds())
  private(set) var file: [UInt8] = []
  private(set) var attempts = 0

  init(trusted: String) throws {
    var arena = makeArena(byteCount: 8 << 20)
    let text = """
      [device]
      org = ab12cd
      type = edge
      id = e7-0042
      auth-token = secret
      [management]
      lifetime = 1h
      [firmware]
      installer = command
      run = /bin/true
      ca-file = \(trusted)

      """
    var scratch = makeArena(byteCount: SettingsLoader.scratchByteCount)
    var loader = try SettingsLoader(scratch: &scratch)
    loader.load(Array(text.utf8).span, name: StaticString("test.conf").bytes)
    let loaded = try loader.finish(defaultID: Span(), into: &arena)
    guard let settings = loaded else { preconditionFailure("the configuration is wrong") }
    let links = try makeLinks(message: .tls, transfer: .tls, from: &arena)
    let plan = HostPlan(
      sensorCount: 0, sensorTextBytes: 0, commandCount: 0, commandTextBytes: 0, sourceTimeout: .seconds(1))
    let newHost = try LinuxHost(links: links, storage: LinuxStorage(folder: nil), plan: plan, from: &arena)
    let newLog = try LogWriter(threshold: .error, from: &arena)
    let newDownload = Download(isUsed: true, in: &arena)
    host = newHost
    log = newLog
    download = newDownload
    self.settings = settings
    self.arena = arena
  }

  var state: DownloadState { download.state }

  func begin(_ address: String, at offset: UInt64 = 0) {
    let bytes = Array(address.utf8)
    download.begin(bytes.span, at: offset, host.now() + ahead)
    file = []
    attempts = 1
  }

  /// Goes on until it is over, or `isEnough` says so.
  func run(until isEnough: (Fetcher) -> Bool = { _ in false }) -> DownloadState {
    let end = Date(timeIntervalSinceNow: 60)
    while Date() < end, !isEnough(self) {
      let now = host.now() + ahead
      download.advance(settings, certificateTime: certificateTime, now, &log, &host)
      while !download.body.isEmpty {
        file += Array(download.body)
        let count = download.body.count
        download.consume(count)
      }
      switch download.state {
      case .complete, .changed, .failed, .idle: return download.state
      case .waiting:
        // What an agent sleeps is not waited for.
        attempts += 1
        ahead = .milliseconds(ahead.milliseconds + max(0, (download.deadline - now).milliseconds))
      case .receiving:
        let deadline = Instant(milliseconds: download.deadline.milliseconds - ahead.milliseconds)
        host.wait(until: min(deadline, host.now() + .milliseconds(200)))
      }
    }
    return download.state
  }

  /// Moves the clock.
  func skip(_ span: TimeSpan) { ahead = .milliseconds(ahead.milliseconds + span.milliseconds) }

  func seek(to offset: UInt64) { download.seek(to: offset, host.now() + ahead, &host) }

  func close() {
    download.stop(&host)
    host.close()
  }
}

extension MachineTests {
  @Suite struct DownloadTests {
    private let content: [UInt8]
    private let folder: TemporaryFolder
    private let server: Program
    private let ports: [Int]
    private let trusted: String

    init() throws {
      var random = RandomSource(seed: 9)
      content = (0..<600_000).map { _ in UInt8(truncatingIfNeeded: random.next()) }
      folder = try TemporaryFolder()
      try Data(content).write(to: URL(fileURLWithPath: folder.path + "/file"))
      let certificates = Certificates.shared
      trusted = certificates.between.certificate
      let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("webserver.py")
      server = Program([
        "python3", "-B", script.path, folder.path + "/file", certificates.chained.certificate, certificates.chained.key,
      ])
      var text = ""
      repeat { text += server.read() } while !text.hasSuffix("\n")
      ports = text.split(whereSeparator: { $0.isWhitespace }).compactMap { Int($0) }
      try #require(ports.count == 2)
    }

    /// Fetches a path over http, or https.
    private func fetch(_ path: String, isSecure: Bool = false) throws -> (
      state: DownloadState, isSame: Bool, attempts: Int
    ) {
      let fetcher = try Fetcher(trusted: trusted)
      defer { fetcher.close() }
      fetcher.begin(isSecure ? "https://localhost:\(ports[1])/\(path)" : "http://127.0.0.1:\(ports[0])/\(path)")
      let state = fetcher.run()
      return (state, fetcher.file == content, fetcher.attempts)
    }

    @Test(arguments: ["file", "chunks", "whole", "away"], [false, true])
    func aFileComesWhole(_ path: String, _ isSecure: Bool) throws {
      let result = try fetch(path, isSecure: isSecure)
      #expect(result.state == .complete && result.isSame && result.attempts == 1)
    }

    @Test(arguments: [("cut", 3), ("close", 2), ("portal", 2)], [false, true])
    func whatIsInterruptedGoesOn(_ path: (String, Int), _ isSecure: Bool) throws {
      let result = try fetch(path.0, isSecure: isSecure)
      #expect(result.state == .complete && result.isSame && result.attempts == path.1)
    }

    @Test func aServerThatStopsIsLeft() throws {
      let fetcher = try Fetcher(trusted: trusted)
      defer { fetcher.close() }
      fetcher.begin("https://localhost:\(ports[1])/slow")
      // In the first window something comes, in the second nothing does.
      var windows = 2
      let state = fetcher.run {
        guard $0.file.count == 65_536, windows > 0 else { return false }
        windows -= 1
        $0.skip(.seconds(121))
        return false
      }
      #expect(state == .complete && fetcher.file == content && fetcher.attempts == 2)
    }

    @Test func bothLinksHaveCertificatesOfTheirOwn() throws {
      // Another authority, and another time, than those of the link of messages.
      let certificates = Certificates.shared
      let broker = try TLSServer(certificates.server)
      let fetcher = try Fetcher(trusted: trusted)
      defer { fetcher.close() }
      let name = Array("localhost".utf8)
      let own = Array(certificates.root.certificate.utf8)
      let endpoint = LinkEndpoint(
        host: name.span, port: broker.port, security: .verified, serverName: Span(), trustedCertificates: own.span)
      let now = fetcher.certificateTime
      fetcher.host.openLink(.message, to: endpoint, certificateTime: now, deadline: fetcher.host.now() + .seconds(20))
      // A clock that is wrong for the transfer leaves the messages alone.
      fetcher.certificateTime = WallTime(milliseconds: 0)
      fetcher.begin("https://localhost:\(ports[1])/file")
      _ = fetcher.run { $0.attempts > 2 }
      #expect(fetcher.file.isEmpty && fetcher.attempts == 3)
      fetcher.certificateTime = now
      var buffer = makeBuffer(capacity: 64)
      var isOpen = false
      var answers = 0
      let state = fetcher.run {
        if !isOpen { isOpen = $0.host.pollLink(.message) == .open }
        guard isOpen else { return false }
        if answers == 0 { _ = $0.host.send(Array("abc\n".utf8).span, on: .message) }
        if case .moved = $0.host.receive(on: .message, into: &buffer) { answers += 1 }
        return false
      }
      #expect(state == .complete && fetcher.file == content)
      while answers == 0 {
        fetcher.host.wait(until: fetcher.host.now() + .seconds(5))
        if case .moved = fetcher.host.receive(on: .message, into: &buffer) { answers += 1 }
      }
      #expect(buffer.text.contains("cba"))
    }

    @Test func anAuthorityOfAnotherKindIsNotTrusted() throws {
      let fetcher = try Fetcher(trusted: Certificates.shared.impostor.certificate)
      defer { fetcher.close() }
      fetcher.begin("https://localhost:\(ports[1])/file")
      let state = fetcher.run { $0.attempts > 3 }
      #expect(state != .complete && fetcher.file.isEmpty && fetcher.attempts == 4)
    }

    // MARK: nginx

    /// nginx with the folder's files, over http and https; nil where it is not installed.
    private func startNginx() throws -> (program: Program, plain: UInt16, secure: UInt16)? {
      guard FileManager.default.isExecutableFile(atPath: "/usr/sbin/nginx") else { return nil }
      let (plain, secure) = (freePort(), freePort())
      let certificates = Certificates.shared
      let configuration = try folder.write(
        "nginx.conf",
        """
        daemon off; master_process off; pid \(folder.path)/nginx.pid; error_log /dev/null;
        events {}
        http {
          access_log off; client_body_temp_path \(folder.path)/t1; proxy_temp_path \(folder.path)/t2;
          fastcgi_temp_path \(folder.path)/t3; uwsgi_temp_path \(folder.path)/t4; scgi_temp_path \(folder.path)/t5;
          gzip on; gzip_types *; default_type application/octet-stream; root \(folder.path);
          server {
            listen 127.0.0.1:\(plain);
            location /moved { return 308 https://localhost:\(secure)/file; }
            location /proxied { proxy_pass http://127.0.0.1:\(ports[0])/chunks; proxy_http_version 1.1; }
          }
          server {
            listen 127.0.0.1:\(secure) ssl;
            ssl_certificate \(certificates.chained.certificate); ssl_certificate_key \(certificates.chained.key);
          }
        }
        """)
      let program = Program(["/usr/sbin/nginx", "-p", folder.path, "-c", configuration])
      let end = Date(timeIntervalSinceNow: 20)
      while Date() < end, !FileManager.default.fileExists(atPath: folder.path + "/nginx.pid") { usleep(10_000) }
      return (program, plain, secure)
    }

    private func freePort() -> UInt16 { Listener().port }

    @Test func nginxServesFilesAndTheirRest() throws {
      guard let nginx = try startNginx() else { return }
      let fetcher = try Fetcher(trusted: trusted)
      defer { fetcher.close() }
      let plain = "http://127.0.0.1:\(nginx.plain)"
      for address in [plain + "/file", plain + "/moved", plain + "/proxied", "https://localhost:\(nginx.secure)/file"] {
        fetcher.begin(address)
        #expect(fetcher.run() == .complete && fetcher.file == content && fetcher.attempts == 1, "\(address)")
      }
      // The rest by its entity tag, forward and back.
      fetcher.begin(plain + "/file")
      _ = fetcher.run { $0.file.count > 10_000 }
      let before = fetcher.file.count
      fetcher.seek(to: 400_000)
      #expect(fetcher.run() == .complete && Array(fetcher.file[before...]) == Array(content[400_000...]))
      // It is another file by now.
      fetcher.begin(plain + "/file")
      _ = fetcher.run { $0.file.count > 10_000 }
      try Data(content + [1]).write(to: URL(fileURLWithPath: folder.path + "/file"))
      fetcher.seek(to: 400_000)
      #expect(fetcher.run() == .changed)
      fetcher.begin(plain + "/missing")
      #expect(fetcher.run() == .failed(.refused))
    }
  }
}
