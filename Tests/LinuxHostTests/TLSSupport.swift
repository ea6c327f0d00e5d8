// Certificates and a TLS server for tests, both by the openssl program.

import CLinux
import Foundation

/// A program that runs beside the test. (Foundation's `Process` waits for children of others that happen to hold its
/// descriptors.)
final class Program {
  private var process: pid_t = 0
  private var output: Int32 = -1

  init(_ arguments: [String]) {
    var ends: [Int32] = [-1, -1]
    precondition(pipe(&ends) == 0)
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    posix_spawn_file_actions_adddup2(&actions, ends[1], 1)
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0)
    var words = arguments.map { strdup($0) } + [nil]
    let result = posix_spawnp(&process, arguments[0], &actions, nil, &words, environ)
    precondition(result == 0, "\(arguments[0]) is not installed")
    for word in words { free(word) }
    posix_spawn_file_actions_destroy(&actions)
    close(ends[1])
    output = ends[0]
  }

  deinit {
    stop()
    close(output)
  }

  /// What it has written; empty at the end.
  func read() -> String {
    var bytes = [UInt8](repeating: 0, count: 4096)
    let count = Foundation.read(output, &bytes, bytes.count)
    return String(decoding: bytes.prefix(max(0, count)), as: UTF8.self)
  }

  /// Waits for its end.
  func wait() -> Int32 {
    var status: Int32 = 0
    if process > 0 { waitpid(process, &status, 0) }
    process = 0
    return status
  }

  func stop() {
    guard process > 0 else { return }
    kill(process, SIGKILL)
    _ = wait()
  }
}

/// A key and a certificate, in one PEM file each, and what a server sends besides.
struct Identity {
  let folder: URL
  let name: String
  var certificate: String { folder.appendingPathComponent("\(name).pem").path }
  var key: String { folder.appendingPathComponent("\(name).key").path }
}

/// What the tests trust and meet. Everything is valid from now for ten days (the root: twenty); tests move the time
/// instead.
final class Certificates: Sendable {
  static let shared = Certificates()

  let folder: URL
  let root: Identity
  /// The root's earlier certificate, of the same name and key: valid for a day only.
  let formerRoot: Identity
  /// Issued by the root, for `localhost` and 127.0.0.1.
  let server: Identity
  /// The same by way of an intermediate authority, whose certificate is in `between`.
  let chained: Identity
  let between: Identity
  /// For `*.messaging.example.test`.
  let wildcard: Identity
  /// Signs itself, and is no authority.
  let selfSigned: Identity
  /// Of the same name as the root, with another key.
  let impostor: Identity
  /// For `localhost`, RSA.
  let rsa: Identity

  private init() {
    folder = FileManager.default.temporaryDirectory.appendingPathComponent("mote-tls-\(getpid())")
    do { try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true) } catch {
      preconditionFailure("no temporary folder: \(error)")
    }
    let authority = "basicConstraints=critical,CA:TRUE"
    root = Certificates.issue("root", "/O=Mote/CN=Test CA", nil, authority, in: folder)
    formerRoot = Certificates.issue(
      "former", "/O=Mote/CN=Test CA", nil, authority, key: root.key, days: "1", in: folder)
    impostor = Certificates.issue("impostor", "/O=Mote/CN=Test CA", nil, authority, in: folder)
    between = Certificates.issue("between", "/O=Mote/CN=Test Intermediate", root, authority, in: folder)
    let local = "basicConstraints=CA:FALSE\nsubjectAltName=DNS:localhost,IP:127.0.0.1"
    server = Certificates.issue("server", "/CN=localhost", root, local, in: folder)
    chained = Certificates.issue("chained", "/CN=localhost", between, local, in: folder)
    rsa = Certificates.issue("rsa", "/CN=localhost", root, local, algorithm: "rsa:2048", in: folder)
    selfSigned = Certificates.issue("self", "/CN=localhost", nil, local, in: folder)
    wildcard = Certificates.issue(
      "wildcard", "/CN=messaging", root, "subjectAltName=DNS:*.messaging.example.test", in: folder)
  }

  private static func issue(
    _ name: String, _ subject: String, _ issuer: Identity?, _ extensions: String, algorithm: String = "ec",
    key: String? = nil, days: String = "20", in folder: URL
  ) -> Identity {
    let identity = Identity(folder: folder, name: name)
    let path = { (suffix: String) in folder.appendingPathComponent(name + suffix).path }
    do { try (extensions + "\n").write(toFile: path(".ext"), atomically: true, encoding: .utf8) } catch {
      preconditionFailure("cannot write: \(error)")
    }
    let curve = algorithm == "ec" ? ["-pkeyopt", "ec_paramgen_curve:P-256"] : []
    let newKey = ["-newkey", algorithm] + curve + ["-nodes", "-keyout", identity.key]
    run(["req", "-new", "-out", path(".csr"), "-subj", subject] + (key.map { ["-key", $0] } ?? newKey))
    let signer =
      issuer.map { ["-CA", $0.certificate, "-CAkey", $0.key, "-CAcreateserial", "-days", "10"] }
      ?? ["-signkey", key ?? identity.key, "-days", days]
    run(["x509", "-req", "-in", path(".csr"), "-out", identity.certificate, "-extfile", path(".ext")] + signer)
    return identity
  }

  private static func run(_ arguments: [String]) {
    precondition(Program(["openssl"] + arguments).wait() == 0, "openssl \(arguments) failed")
  }

  /// Writes a file of these identities' certificates, as a store of trusted ones.
  func bundle(_ name: String, _ identities: [Identity], before text: String = "") throws -> String {
    let url = folder.appendingPathComponent(name)
    var all = text
    for identity in identities { all += try String(contentsOfFile: identity.certificate, encoding: .utf8) }
    try all.write(to: url, atomically: true, encoding: .utf8)
    return url.path
  }
}

/// `openssl s_server`, which sends every line back with its letters in reverse order.
final class TLSServer {
  private let program: Program
  private(set) var port: UInt16 = 0

  convenience init(_ identity: Identity, chain: Identity? = nil, _ options: String...) throws {
    try self.init(identity, chain: chain, options: options)
  }

  /// Listens on `port`, or on any free one.
  init(_ identity: Identity, chain: Identity? = nil, port wantedPort: UInt16 = 0, options: [String]) throws {
    let files =
      ["-cert", identity.certificate, "-key", identity.key] + (chain.map { ["-cert_chain", $0.certificate] } ?? [])
    program = Program(
      ["openssl", "s_server", "-accept", "127.0.0.1:\(wantedPort)", "-rev"] + files + options)
    var text = ""
    while port == 0 {
      // It says where it listens, unless it was told.
      let piece = program.read()
      precondition(!piece.isEmpty, "openssl s_server ended")
      text += piece
      guard let line = text.split(separator: "\n").first(where: { $0.hasPrefix("ACCEPT") }) else { continue }
      port = UInt16(line.split(separator: ":").last ?? "") ?? wantedPort
    }
  }

  func stop() { program.stop() }
}
