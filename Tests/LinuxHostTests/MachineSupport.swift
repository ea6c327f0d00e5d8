// A host for tests of the machine's side, temporary folders, and a file system that misbehaves.

import Bytes
import Foundation
import HostInterface
import LinuxHost
import TestSupport
import Testing

/// All tests that own the process's signals: one after the other.
@Suite(.serialized) enum MachineTests {}

/// A `LinuxHost` with texts instead of bytes.
final class MachineHost {
  var host: LinuxHost
  private var buffer = makeBuffer(capacity: 8192)

  init(
    sys: String = "/sys", proc: String = "/proc", sourceTimeout: TimeSpan = .seconds(2), stateFolder: String = "",
    storageTimeout: TimeSpan = StorageLimits.timeMax
  ) throws {
    var arena = makeArena(byteCount: 4 << 20)
    let links = try makeLinks(message: .plain, transfer: .plain, from: &arena)
    let plan = HostPlan(
      sensorCount: 32, sensorTextBytes: 4096, commandCount: 16, commandTextBytes: 2048, sourceTimeout: sourceTimeout)
    // Never freed, as a path of the agent.
    let storage = LinuxStorage(folder: stateFolder.isEmpty ? nil : strdup(stateFolder), timeMax: storageTimeout)
    let sysBytes = Array(sys.utf8)
    let procBytes = Array(proc.utf8)
    host = try LinuxHost(
      links: links, storage: storage, plan: plan, roots: MachineRoots(sys: sysBytes.span, proc: procBytes.span),
      from: &arena)
  }

  func close(holdingSignals: Bool = false) { host.close(holdingSignals: holdingSignals) }

  // MARK: Sources

  func open(_ kind: SourceKind, _ argument: String) throws -> Int {
    let bytes = Array(argument.utf8)
    let index = host.openSource(kind, argument: bytes.span)
    return try #require(index)
  }

  /// Collects sources as an event does: has all of them prepared, until they are ready or time is up.
  func prepare(_ indices: [Int], within seconds: Double) {
    let end = Date(timeIntervalSinceNow: seconds)
    while Date() < end, !indices.map({ host.prepareSource($0) }).allSatisfy({ $0 }) { wait(until: end) }
  }

  var canPrepareMore: Bool { host.canPrepareMore }

  /// One call of `readSource`; the text where it is complete.
  func readOnce(_ index: Int) -> (result: SourceRead, text: String) {
    buffer.removeAll()
    let result = host.readSource(index, into: &buffer)
    let count = buffer.count
    if !result.isComplete { #expect(count == 0, "nothing may be appended without a result") }
    return (result, buffer.text)
  }

  /// Reads as an event does: waits while the source is pending.
  func read(_ index: Int, within seconds: Double = 5) -> (result: SourceRead, text: String) {
    let end = Date(timeIntervalSinceNow: seconds)
    while true {
      let (result, text) = readOnce(index)
      if result != .pending || Date() > end { return (result, text) }
      wait(until: end)
    }
  }

  /// How old the answer is that waits for being read.
  func age(_ index: Int) -> TimeSpan { host.sourceAge(index, at: host.now()) }

  /// Reads until the source is read in place: after its first good reading in a child, or some more on a busy machine,
  /// where a child may be interrupted for longer than a quick source takes.
  ///
  /// - Returns: how many readings it took.
  @discardableResult
  func promote(_ index: Int) -> Int {
    for attempt in 0..<200 {
      if readOnce(index).result.isComplete { return attempt }
      _ = read(index)
    }
    Issue.record("source \(index) is not read in place")
    return .max
  }

  func wait(until end: Date) {
    let milliseconds = Int64(max(0, end.timeIntervalSinceNow * 1000).rounded(.up))
    host.wait(until: host.now() + .milliseconds(milliseconds))
  }

  // MARK: Links

  /// Begins to open a plain link to `port` on this machine.
  func open(_ slot: LinkSlot, port: UInt16) {
    let name = Array("127.0.0.1".utf8)
    let endpoint = LinkEndpoint(
      host: name.span, port: port, security: .plain, serverName: Span(), trustedCertificates: Span())
    host.openLink(
      slot, to: endpoint, certificateTime: WallTime(milliseconds: 0), deadline: host.now() + .seconds(10))
  }

  /// Waits until a link is open, or has failed.
  func finishOpening(_ slot: LinkSlot) -> LinkState {
    let end = Date(timeIntervalSinceNow: 10)
    while true {
      let state = host.pollLink(slot)
      if state != .opening || Date() > end { return state }
      wait(until: end)
    }
  }

  /// Waits for what comes on a link.
  func receive(on slot: LinkSlot) -> [UInt8] {
    let end = Date(timeIntervalSinceNow: 10)
    buffer.removeAll()
    while case .wouldBlock = host.receive(on: slot, into: &buffer), Date() < end { wait(until: end) }
    return (0..<buffer.count).map { buffer[$0] }
  }

  // MARK: Programs

  func add(_ path: String, name: String = "test") throws {
    let pathBytes = Array(path.utf8)
    let nameBytes = Array(name.utf8)
    let isAdded = host.addProgram(path: pathBytes.span, commandName: nameBytes.span)
    try #require(isAdded)
  }

  func start(slot: Int = 0, command: Int = 0, input: [UInt8] = [], variables: [UInt8] = []) -> ProgramStart {
    host.startProgram(slot: slot, command: command, input: input.span, variables: variables.span)
  }

  /// Waits for a program's end as the agent does; gives what it wrote and how often the loop woke.
  func finish(slot: Int = 0, within seconds: Double = 10) -> (state: ProgramState, output: String, wakeups: Int) {
    let end = Date(timeIntervalSinceNow: seconds)
    var wakeups = 0
    var output = makeBuffer(capacity: 2048)
    while true {
      let state = host.pollProgram(slot: slot, output: &output)
      if state != .running || Date() > end { return (state, output.text, wakeups) }
      wait(until: end)
      wakeups += 1
    }
  }
}

extension SourceRead {
  /// Whether a text came.
  var isComplete: Bool {
    if case .complete = self { return true }
    return false
  }
}

/// A folder that goes away with its last user.
final class TemporaryFolder {
  let path: String

  init() throws {
    path = NSTemporaryDirectory() + "/mote-" + UUID().uuidString
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  /// Writes a file and the folders that lead to it; gives its path.
  @discardableResult
  func write(_ name: String, _ text: String) throws -> String {
    let file = path + "/" + name
    let folder = URL(fileURLWithPath: file).deletingLastPathComponent()
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    try Data(text.utf8).write(to: URL(fileURLWithPath: file))
    return file
  }

  func remove(_ name: String) throws { try FileManager.default.removeItem(atPath: path + "/" + name) }

  /// Writes a program.
  func script(_ name: String, _ lines: String, interpreter: String = "#!/bin/sh\n") throws -> String {
    let file = try write(name, interpreter + lines + "\n")
    try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: file)
    return file
  }
}

/// A mounted file system of slowfiles.py, or of another script of the same manners.
final class SlowFiles {
  let path: String
  private let folder: TemporaryFolder
  private let server = Process()
  private let input = Pipe()
  private let output = Pipe()

  /// Nil where the machine has no FUSE or we may not mount: what needs it is then not tested here.
  init?(at mountPoint: String? = nil, script name: String = "slowfiles.py") throws {
    folder = try TemporaryFolder()
    path = mountPoint ?? folder.path
    server.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent(name)
    server.arguments = ["python3", "-B", script.path, path]
    server.standardInput = input
    server.standardOutput = output
    try server.run()
    guard readLine().hasPrefix("ready") else {
      end()
      return nil
    }
  }

  /// Has the script do what one of its lines says; gives its answer.
  @discardableResult
  func command(_ line: String) -> String {
    input.fileHandleForWriting.write(Data((line + "\n").utf8))
    return readLine()
  }

  /// The next line of the script's output; what there was of it at its end.
  private func readLine() -> String {
    var line: [UInt8] = []
    var byte: UInt8 = 0
    while true {
      let count = read(output.fileHandleForReading.fileDescriptor, &byte, 1)
      // Children of other tests end meanwhile.
      if count < 0, errno == EINTR { continue }
      if count <= 0 || byte == UInt8(ascii: "\n") { return line.text }
      line.append(byte)
    }
  }

  /// From now on no request is even taken: readers hang, but can be killed.
  func freeze() {
    kill(server.processIdentifier, SIGSTOP)
    // Until it stands still it may take one more, and who waits for that cannot be killed.
    let threads = "/proc/\(server.processIdentifier)/task"
    func isStanding(_ thread: String) -> Bool {
      let stat = try? String(contentsOfFile: "\(threads)/\(thread)/stat", encoding: .utf8)
      return stat?.contains(") T ") ?? true
    }
    while !((try? FileManager.default.contentsOfDirectory(atPath: threads)) ?? []).allSatisfy(isStanding) {
      usleep(1000)
    }
  }

  /// Ends the server, which also ends every reader that is stuck in it.
  func end() {
    kill(server.processIdentifier, SIGCONT)
    try? input.fileHandleForWriting.close()
    server.waitUntilExit()
  }
}

/// The children of this process's present thread that run or are zombies, by state.
func childStates(named name: String) -> [Character] {
  var states: [Character] = []
  let own = String(getpid())
  for entry in (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? [] where Int(entry) != nil {
    guard let stat = try? String(contentsOfFile: "/proc/\(entry)/stat", encoding: .utf8),
      let open = stat.firstIndex(of: "("), let close = stat.lastIndex(of: ")")
    else { continue }
    let fields = stat[stat.index(close, offsetBy: 2)...].split(separator: " ")
    if stat[stat.index(after: open)..<close] == name, fields[1] == own { states += Array(fields[0]) }
  }
  return states
}
