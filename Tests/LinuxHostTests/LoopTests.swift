import Bytes
import CLinux
import Foundation
import HostInterface
import LinuxHost
import TestSupport
import Testing

extension MachineTests {
  @Suite struct LoopTests {
    @Test func sleepsUntilTheDeadline() throws {
      let host = try MachineHost()
      defer { host.close() }
      for milliseconds: Int64 in [0, 1, 50, 120] {
        let deadline = host.host.now() + .milliseconds(milliseconds)
        // A child of another test that ends in between wakes this loop, too.
        var wakeups = 0
        repeat {
          host.host.wait(until: deadline)
          wakeups += 1
        } while host.host.now() < deadline
        #expect(wakeups < 8, "never early")
        let late = host.host.now() - deadline
        #expect(late < .milliseconds(300), "\(late.milliseconds) ms late")
      }
      host.host.wait(until: Instant(milliseconds: 0))
    }

    @Test func linksOfAllSlotsWorkBesideEachOther() throws {
      let host = try MachineHost()
      defer { host.close() }
      let (messages, transfers) = (Listener(), Listener())
      host.open(.message, port: messages.port)
      host.open(.transfer, port: transfers.port)
      #expect(host.finishOpening(.transfer) == .open)
      #expect(host.finishOpening(.message) == .open)
      let (broker, server) = (messages.accept(), transfers.accept())
      server.send([3, 4, 5])
      #expect(host.receive(on: .transfer) == [3, 4, 5])
      broker.send([1, 2])
      #expect(host.receive(on: .message) == [1, 2])
      // The end of one is not the other's.
      host.host.closeLink(.transfer)
      #expect(server.receive(1) == [])
      broker.send([6])
      #expect(host.receive(on: .message) == [6])
      // A slot can be used again, and lead elsewhere.
      host.open(.transfer, port: messages.port)
      #expect(host.finishOpening(.transfer) == .open)
      let second = messages.accept()
      second.send([7])
      #expect(host.receive(on: .transfer) == [7])
    }

    @Test func theKernelSaysWhetherTheClockIsRight() throws {
      let host = try MachineHost()
      defer { host.close() }
      typealias Adjust = @convention(c) (UnsafeMutableRawPointer) -> Int32
      let adjust = unsafeBitCast(try #require(dlsym(nil, "adjtimex")), to: Adjust.self)
      // Zeros: nothing is adjusted. TIME_ERROR is 5.
      var state = [UInt8](repeating: 0, count: 512)
      let isRight = state.withUnsafeMutableBytes { adjust($0.baseAddress!) } != 5
      #expect(host.host.isTimeSynchronised() == isRight)
    }

    @Test func theClockIsTheBootTimeClock() throws {
      let host = try MachineHost()
      defer { host.close() }
      let uptime = try String(contentsOfFile: "/proc/uptime", encoding: .utf8)
      let seconds = try #require(Double(uptime.split(separator: " ")[0]))
      #expect(abs(Double(host.host.now().milliseconds) / 1000 - seconds) < 0.1)
    }

    @Test func signalsWakeTheLoopAndAreTakenInOrder() throws {
      let host = try MachineHost()
      defer { host.close() }
      #expect(host.host.takeSignal() == nil)
      let start = Date()
      // Another thread handles them: this one, of a pool, has them blocked.
      for signal in [SIGHUP, SIGINT, SIGTERM, SIGHUP] { kill(getpid(), signal) }
      usleep(200_000)
      host.host.wait(until: host.host.now() + .seconds(5))
      #expect(Date().timeIntervalSince(start) < 1)
      #expect(host.host.takeSignal() == .terminate)
      #expect(host.host.takeSignal() == .interrupt)
      #expect(host.host.takeSignal() == .reload)
      #expect(host.host.takeSignal() == nil, "two of the same are one")
      kill(getpid(), SIGPIPE)
      host.host.wait(until: host.host.now() + .milliseconds(20))
      #expect(host.host.takeSignal() == nil)
      #expect(Signal.reload.name.text == "SIGHUP")
    }

    /// Another host follows after a reload that takes a new connection: a signal in between must not end the process,
    /// nor be lost; nor may one that the first host's handlers saw and nobody took.
    @Test(arguments: [false, true]) func signalsBetweenTwoHostsAreKept(isSentBefore: Bool) throws {
      try withReloadUnblocked {
        let first = try MachineHost()
        // To this thread: only it holds signals back.
        if isSentBefore { pthread_kill(pthread_self(), SIGHUP) }
        first.close(holdingSignals: true)
        if !isSentBefore { pthread_kill(pthread_self(), SIGHUP) }
        let next = try MachineHost()
        defer { next.close() }
        next.host.wait(until: next.host.now() + .seconds(5))
        #expect(next.host.takeSignal() == .reload)
      }
    }

    /// Threads of a pool block all signals.
    private func withReloadUnblocked(_ body: () throws -> Void) rethrows {
      var reload = sigset_t()
      var before = sigset_t()
      sigemptyset(&reload)
      sigaddset(&reload, SIGHUP)
      pthread_sigmask(SIG_UNBLOCK, &reload, &before)
      defer { pthread_sigmask(SIG_SETMASK, &before, nil) }
      try body()
    }

    @Test func aSignalDuringTheWaitEndsIt() throws {
      let host = try MachineHost()
      defer { host.close() }
      let thread = Thread {
        usleep(100_000)
        kill(getpid(), SIGTERM)
      }
      thread.start()
      let start = Date()
      var signal: Signal?
      // A child of an earlier test may end as well; that wakes the loop, too.
      while signal == nil, Date().timeIntervalSince(start) < 10 {
        host.host.wait(until: host.host.now() + .seconds(10))
        signal = host.host.takeSignal()
      }
      let duration = Date().timeIntervalSince(start)
      #expect(duration > 0.09 && duration < 10)
      #expect(signal == .terminate)
    }
  }

  @Suite struct LogTests {
    @Test func writesALine() throws {
      let ends = try pipeEnds()
      defer { ends.close() }
      var sink = LogSink(descriptor: ends.writing)
      sink.write("info agent starting")
      sink.write("error agent stopping", .error)
      #expect(ends.read() == "info agent starting\nerror agent stopping\n")
    }

    @Test func aFullPipeCostsLinesAndNoTime() throws {
      let ends = try pipeEnds()
      defer { ends.close() }
      var sink = LogSink(descriptor: ends.writing)
      let line = String(repeating: "x", count: 400)
      let start = Date()
      for _ in 0..<1000 { sink.write(line) }
      #expect(Date().timeIntervalSince(start) < 1)
      #expect(fcntl(ends.writing, F_GETFL) & O_NONBLOCK == 0, "others write there, too")
      let lost = sink.lostCount
      #expect(lost > 500)
      let written = ends.read().split(separator: "\n")
      #expect(written.count == 1000 - lost)
      #expect(written.allSatisfy { $0 == line }, "no line is cut")
      sink.write("info agent still-here")
      #expect(ends.read() == "warning log lines-lost count=\(lost)\ninfo agent still-here\n")
      #expect(sink.lostCount == 0)
    }

    /// A script may have opened it for appending or from its beginning, and for writing alone.
    @Test(arguments: [O_WRONLY | O_APPEND, O_WRONLY]) func aFileStaysBelowItsBound(flags: Int32) throws {
      let folder = try TemporaryFolder()
      let path = try folder.write("mote.log", "")
      let file = Foundation.open(path, flags)
      defer { Foundation.close(file) }
      let bound = 16_384
      var sink = LogSink(descriptor: file, fileBytesMax: bound)
      var largest = 0
      for number in 0..<3000 {
        sink.write("info agent line number=\(number) \(String(repeating: "x", count: number % 700))")
        var status = stat()
        fstat(file, &status)
        largest = max(largest, Int(status.st_size))
        guard number % 500 == 499 else { continue }
        // The newest lines, each whole, none twice and none missing.
        let lines = try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n")
        let numbers = lines.compactMap { Int($0.dropFirst("info agent line number=".count).prefix { $0 != " " }) }
        #expect(numbers == Array((number + 1 - lines.count)...number))
        #expect(lines.count > 10)
      }
      #expect(sink.lostCount == 0)
      #expect(largest <= bound && largest > bound / 2)
    }

    @Test func aFileWithoutABoundGrows() throws {
      let folder = try TemporaryFolder()
      let path = try folder.write("mote.log", "")
      let file = Foundation.open(path, O_WRONLY | O_APPEND)
      defer { Foundation.close(file) }
      var sink = LogSink(descriptor: file)
      for _ in 0..<1000 { sink.write(String(repeating: "x", count: 99)) }
      #expect(try Data(contentsOf: URL(fileURLWithPath: path)).count == 100_000)
    }

    @Test func aReaderThatHasGoneIsNoHarm() throws {
      let host = try MachineHost()  // ignores SIGPIPE
      defer { host.close() }
      let ends = try pipeEnds()
      var sink = LogSink(descriptor: ends.writing)
      Foundation.close(ends.reading)
      sink.write("info agent alone")
      #expect(sink.lostCount == 1)
      Foundation.close(ends.writing)
    }

    @Test func aTerminalThatIsHeldLosesLines() throws {
      let controller = Foundation.open("/dev/ptmx", O_RDWR | O_NOCTTY)
      defer { Foundation.close(controller) }
      var lock: Int32 = 0
      var number: UInt32 = 0
      // TIOCSPTLCK and TIOCGPTN of asm-generic/ioctls.h.
      let isUnlocked = ioctl(controller, 0x4004_5431, &lock) == 0 && ioctl(controller, 0x8004_5430, &number) == 0
      try #require(isUnlocked)
      let terminal = Foundation.open("/dev/pts/\(number)", O_RDWR | O_NOCTTY)
      try #require(terminal >= 0)
      defer { Foundation.close(terminal) }
      var sink = LogSink(descriptor: terminal)
      sink.write("info agent visible")
      var buffer = [UInt8](repeating: 0, count: 4096)
      var count = read(controller, &buffer, buffer.count)
      #expect(Array(buffer[0..<max(count, 0)]).text == "info agent visible\r\n")
      // Nobody reads any more.
      let start = Date()
      for _ in 0..<2000 { sink.write(String(repeating: "y", count: 100)) }
      #expect(Date().timeIntervalSince(start) < 1)
      #expect(sink.lostCount > 0)
      var text = ""
      for _ in 0..<100 where !text.contains("back") {
        count = read(controller, &buffer, buffer.count)
        text += Array(buffer[0..<max(count, 0)]).text
        usleep(1000)
        sink.write("info agent back")
      }
      #expect(text.contains("\r\nwarning log lines-lost count="), "a cut line is ended first")
      #expect(text.contains("\r\ninfo agent back"))
    }

    @Test func aSocketIsNeverWaitedFor() throws {
      var pair: [Int32] = [0, 0]
      try #require(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &pair) == 0)
      let ends = PipeEnds(reading: pair[0], writing: pair[1])
      defer { ends.close() }
      var status = stat()
      try #require(fstat(pair[1], &status) == 0)
      setenv("JOURNAL_STREAM", "\(status.st_dev):\(status.st_ino)", 1)
      defer { unsetenv("JOURNAL_STREAM") }
      var sink = LogSink(descriptor: pair[1])
      for level in [LogLevel.error, .warning, .info, .debug] { sink.write("line", level) }
      #expect(ends.read() == "<3>line\n<4>line\n<6>line\n<7>line\n")
      let start = Date()
      for _ in 0..<5000 { sink.write(String(repeating: "z", count: 400)) }
      #expect(Date().timeIntervalSince(start) < 1)
      #expect(sink.lostCount > 0)
      setenv("JOURNAL_STREAM", "\(status.st_dev):\(status.st_ino + 1)", 1)
      _ = ends.read()
      var other = LogSink(descriptor: pair[1])
      other.write("redirected")
      #expect(ends.read() == "redirected\n")
    }
  }

  @Suite struct MemoryAndFileTests {
    @Test func startupMemoryIsGivenBack() throws {
      guard var memory = StartupMemory() else { throw NoMemory() }
      let start = memory.region.start
      #expect(memory.region.count == StartupMemory.byteCountDefault)
      #expect(start.loadUnaligned(fromByteOffset: memory.region.count - 8, as: UInt64.self) == 0)
      start.storeBytes(of: 7, as: UInt8.self)
      memory.giveBackTail(after: 5000)
      #expect(memory.region.count == 8192)
      #expect(start.load(as: UInt8.self) == 7)
      #expect(isMapped(start) && isMapped(start + 4096))
      #expect(!isMapped(start + 8192))
      memory.giveBackTail(after: 8192)
      #expect(memory.region.count == 8192)
      memory.release()
      #expect(!isMapped(start))
      for byteCount in [0, -1, 1 << 60, Int.max] {
        if StartupMemory(byteCount: byteCount) != nil { Issue.record("\(byteCount) bytes cannot be had") }
      }
    }

    @Test func readsWholeFiles() throws {
      let folder = try TemporaryFolder()
      let path = try folder.write("file", "0123456789")
      #expect(try contents(path, room: 11) == "0123456789")
      #expect(throws: FileFailure.tooLarge) { try contents(path, room: 10) }
      #expect(throws: FileFailure.notFound) { try contents(path + "/below", room: 10) }
      #expect(throws: FileFailure.notFound) { try contents("/no/such", room: 10) }
      #expect(throws: FileFailure.notRegular) { try contents(folder.path, room: 10) }
      #expect(throws: FileFailure.notRegular) { try contents("/dev/null", room: 10) }
      let name = String(repeating: "a", count: Files.pathBytesMax)
      #expect(throws: FileFailure.pathTooLong) { try contents("/" + name, room: 10) }
    }

    @Test func knowsWhoMayRead() throws {
      let folder = try TemporaryFolder()
      let path = try folder.write("token", "secret")
      for (mode, expected) in [(0o600, false), (0o640, false), (0o644, true), (0o604, true)] {
        try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: path)
        let bytes = Array(path.utf8)
        let isReadable = Files.isReadableByOthers(bytes.span)
        #expect(isReadable == expected, "\(String(mode, radix: 8))")
      }
      let missing = Array("/no/such".utf8)
      let isReadable = Files.isReadableByOthers(missing.span)
      #expect(!isReadable)
    }

    @Test func readsTheEnvironment() {
      setenv("MOTE_TEST_VARIABLE", "a b", 1)
      defer { unsetenv("MOTE_TEST_VARIABLE") }
      var buffer = makeBuffer()
      let isSet = Environment.append(Array("MOTE_TEST_VARIABLE".utf8).span, to: &buffer)
      #expect(isSet && buffer.text == "a b")
      let isOtherSet = Environment.append(Array("MOTE_TEST_OTHER".utf8).span, to: &buffer)
      #expect(!isOtherSet && buffer.text == "a b")
    }
  }
}

private struct NoMemory: Error {}

private struct PipeEnds {
  let reading: Int32
  let writing: Int32

  func close() {
    Foundation.close(reading)
    Foundation.close(writing)
  }

  /// What is there.
  func read() -> String {
    _ = fcntl(reading, F_SETFL, O_NONBLOCK)
    var all: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 65536)
    while true {
      let count = Foundation.read(reading, &buffer, buffer.count)
      if count <= 0 { return all.text }
      all += buffer[0..<count]
    }
  }
}

private func pipeEnds() throws -> PipeEnds {
  var ends: [Int32] = [0, 0]
  try #require(pipe(&ends) == 0)
  return PipeEnds(reading: ends[0], writing: ends[1])
}

extension LogSink {
  fileprivate mutating func write(_ text: String, _ level: LogLevel = .info) {
    let bytes = Array(text.utf8)
    write(level, bytes.span)
  }
}

extension StaticString {
  fileprivate var text: String { "\(self)" }
}

private func isMapped(_ address: UnsafeMutableRawPointer) -> Bool {
  var state: UInt8 = 0
  return mincore(address, 4096, &state) == 0
}

private func contents(_ path: String, room: Int) throws -> String {
  var buffer = makeBuffer(capacity: room)
  let bytes = Array(path.utf8)
  try Files.read(bytes.span, into: &buffer)
  return buffer.text
}
