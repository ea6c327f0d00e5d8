import Bytes
import CLinux
import Foundation
import HostInterface
import TestSupport
import Testing

@testable import LinuxHost

extension MachineHost {
  /// Asks in every turn until there is an answer, as an owner does.
  func finish(within seconds: Double = 20, _ call: (inout LinuxHost) -> StorageAnswer) -> StorageAnswer {
    let end = Date(timeIntervalSinceNow: seconds)
    while true {
      let answer = call(&host)
      if answer != .pending || Date() > end { return answer }
      wait(until: end)
    }
  }

  func replace(_ content: [UInt8]) -> StorageAnswer { finish { $0.replaceRecord(.clock, content.span) } }

  func readRecord() -> (answer: StorageAnswer, content: [UInt8]) {
    var buffer = makeBuffer(capacity: 256)
    let answer = finish { $0.readRecord(.clock, into: &buffer) }
    return (answer, Array(buffer.span))
  }

  func append(_ bytes: [UInt8], to number: UInt64 = 1, at offset: Int) -> StorageAnswer {
    finish { $0.appendToSegment(StorageSegment(.queue, number), at: offset, bytes.span, isFlushed: true) }
  }

  func readSegment(_ number: UInt64 = 1, at offset: Int = 0, room: Int = 1 << 17) -> (
    answer: StorageAnswer, bytes: [UInt8]
  ) {
    var buffer = makeBuffer(capacity: room)
    let answer = finish { $0.readSegment(StorageSegment(.queue, number), at: offset, into: &buffer) }
    return (answer, Array(buffer.span))
  }

  func find(from number: UInt64 = 0) -> (answer: StorageAnswer, range: StorageSegmentRange) {
    var range = StorageSegmentRange()
    let answer = finish { $0.findSegments(of: .queue, from: number, &range) }
    return (answer, range)
  }
}

extension MachineTests {
  /// The state folder on a real file system.
  @Suite struct StorageTests {
    private let content: [UInt8] = [0, 0, 0x01, 0x8B, 0xCF, 0xE5, 0x68, 0]

    private func names(_ folder: TemporaryFolder) throws -> [String] {
      try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
    }

    @Test func recordsAreReplacedWhole() throws {
      let folder = try TemporaryFolder()
      let host = try MachineHost(stateFolder: folder.path)
      defer { host.close() }
      #expect(host.readRecord() == (.notFound, []))
      try folder.write("clock-floor.new", "litter")
      try folder.write("clock-floor.again", "litter")
      #expect(host.replace([1]) == .done)
      #expect(host.replace(content) == .done)
      #expect(host.readRecord() == (.done, content))
      #expect(try names(folder) == ["clock-floor"])
      let file = try Data(contentsOf: URL(fileURLWithPath: folder.path + "/clock-floor"))
      #expect(file.count == 24 && file.suffix(8) == Data(content))
      let mode = try FileManager.default.attributesOfItem(atPath: folder.path + "/clock-floor")[.posixPermissions]
      #expect(mode as? Int == 0o600)
      try folder.write("clock-floor", "1764288000\n")
      #expect(host.readRecord() == (.damaged, []))
      #expect(childStates(named: "mote-storage").isEmpty)
    }

    @Test func segmentsGrowAndAreFound() throws {
      let folder = try TemporaryFolder()
      let host = try MachineHost(stateFolder: folder.path)
      defer { host.close() }
      let large = (0..<100_000).map { UInt8(truncatingIfNeeded: $0 &* 31 >> 3) }
      #expect(host.append(large, at: 0) == .done)
      #expect(host.append([1, 2, 3], at: 99_999) == .done)
      #expect(host.append([1], at: 100_003) == .damaged)
      #expect(host.readSegment() == (.done, large[..<99_999] + [1, 2, 3]))
      #expect(host.readSegment(at: 100_001) == (.done, [3]))
      #expect(host.readSegment(at: 1, room: 10) == (.done, Array(large[1..<11])))
      #expect(host.readSegment(2).answer == .notFound)
      #expect(host.append([9], to: 0xABC, at: 0) == .done)
      try FileManager.default.createDirectory(
        atPath: folder.path + "/queue.0000000000000002", withIntermediateDirectories: false)
      let all = host.find()
      #expect(all.answer == .done && all.range.count == 2 && all.range.byteCount == 100_003)
      #expect(all.range.first == 1 && all.range.last == 0xABC)
      #expect(try names(folder).contains("queue.0000000000000abc"))
      for _ in 0..<2 { #expect(host.finish { $0.deleteSegment(StorageSegment(.queue, 0xABC)) } == .done) }
      #expect(host.find(from: 2).answer == .notFound)
    }

    @Test func withoutAFolderNothingIsKept() throws {
      let parent = try TemporaryFolder()
      for path in ["", parent.path + "/missing"] {
        let host = try MachineHost(stateFolder: path)
        defer { host.close() }
        #expect(host.readRecord().answer == .notFound)
        #expect(host.replace(content) == .readOnly)
        #expect(host.append([1], at: 0) == .readOnly)
        #expect(host.readSegment().answer == .notFound)
        #expect(host.find().answer == .notFound)
      }
    }

    /// As an agent that is not root in a folder that is root's.
    @Test func aFolderOfAnotherUserIsReadOnly() throws {
      let folder = try TemporaryFolder()
      let host = try MachineHost(stateFolder: folder.path)
      defer { host.close() }
      #expect(host.replace(content) == .done)
      // For this thread alone, and the children that it forks.
      typealias SetUser = @convention(c) (uid_t) -> Int32
      let setUser = unsafeBitCast(try #require(dlsym(nil, "setfsuid")), to: SetUser.self)
      _ = setUser(65_534)
      defer { _ = setUser(0) }
      for mode: mode_t in [0o755, 0o700] {
        chmod(folder.path, mode)
        #expect(host.replace([1]) == .readOnly)
        #expect(host.append([1], at: 0) == .readOnly)
        #expect(host.readRecord() == (.readOnly, []))
      }
      _ = setUser(0)
      #expect(host.readRecord() == (.done, content))
    }

    @Test func linksAndFoldersInTheWayAreNotFollowed() throws {
      let folder = try TemporaryFolder()
      let elsewhere = try folder.write("elsewhere", "precious")
      for name in ["clock-floor", "clock-floor.new", "queue.0000000000000001"] {
        try FileManager.default.createSymbolicLink(atPath: folder.path + "/" + name, withDestinationPath: elsewhere)
      }
      let host = try MachineHost(stateFolder: folder.path)
      defer { host.close() }
      #expect(host.readRecord() == (.failed, []))
      #expect(host.append([1], at: 1) == .failed)
      #expect(host.append([1], at: 0) == .done)
      #expect(host.replace(content) == .done)
      #expect(host.readRecord() == (.done, content))
      #expect(try String(contentsOfFile: elsewhere, encoding: .utf8) == "precious")
      try FileManager.default.createDirectory(
        atPath: folder.path + "/clock-floor.new", withIntermediateDirectories: false)
      #expect(host.replace([1]) == .done, "written anew under the other name")
      #expect(host.readRecord() == (.done, [1]))
    }

    /// A descriptor that is left open in a child, or a standard one that is given away, would keep a connection alive
    /// or have a record in the log.
    @Test func theChildHasNothingButTheFolder() throws {
      let folder = try TemporaryFolder()
      let host = try MachineHost(stateFolder: folder.path)
      defer { host.close() }
      var ends: [Int32] = [0, 0]
      try #require(pipe(&ends) == 0)
      let process = mote_fork_for_storage(-1)
      if process == 0 {
        sleep(100)
        _exit(0)
      }
      Glibc.close(ends[1])
      var byte: UInt8 = 0
      #expect(read(ends[0], &byte, 1) == 0, "nobody else has the other end")
      Glibc.close(ends[0])
      let links = (0...3).map {
        try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(process)/fd/\($0)")
      }
      #expect(links == ["/dev/null", "/dev/null", "/dev/null", nil])
      kill(process, SIGKILL)
      waitpid(process, nil, 0)
    }

    @Test func aFullFileSystemIsNamed() throws {
      let folder = try TemporaryFolder()
      let options = "size=64k,nr_inodes=8"
      try #require(mount("state", folder.path, "tmpfs", 0, options) == 0, "these tests need root")
      defer { umount2(folder.path, 2) }
      let host = try MachineHost(stateFolder: folder.path)
      defer { host.close() }
      #expect(host.replace(content) == .done)
      let large = Array(repeating: UInt8(7), count: 1 << 17)
      #expect(host.append(large, at: 0) == .noSpace)
      #expect(host.replace([1]) == .noSpace)
      #expect(host.readRecord() == (.done, content))
      #expect(!(try names(folder).contains("clock-floor.new")))
      #expect(host.finish { $0.deleteSegment(StorageSegment(.queue, 1)) } == .done)
      #expect(host.replace([1]) == .done)
      for name in 0..<8 { _ = FileManager.default.createFile(atPath: folder.path + "/\(name)", contents: nil) }
      #expect(host.replace([2]) == .noSpace, "no inodes")
      try #require(mount("state", folder.path, "tmpfs", UInt(MS_REMOUNT | MS_RDONLY), options) == 0)
      #expect(host.replace([2]) == .readOnly)
      #expect(host.finish { $0.deleteSegment(StorageSegment(.queue, 1)) } == .readOnly)
      #expect(host.readRecord() == (.done, [1]))
    }

    /// The limit of the process, inherited by the child, cuts a write short and then refuses.
    @Test func aLimitOfTheFileSizeIsNoSpace() throws {
      let folder = try TemporaryFolder()
      let host = try MachineHost(stateFolder: folder.path)
      defer { host.close() }
      #expect(host.append([1], at: 0) == .done)
      var before = rlimit()
      getrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &before)
      defer { setrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &before) }
      var limit = rlimit(rlim_cur: 1 << 26, rlim_max: before.rlim_max)
      setrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &limit)
      try #require(truncate(folder.path + "/queue.0000000000000001", 1 << 26 - 2) == 0)
      #expect(host.append([1, 2, 3, 4], at: 1 << 26 - 2) == .noSpace)
    }

    // MARK: Dying flash

    /// The folder of flashfiles.py.
    private func dyingFlash() throws -> SlowFiles { try #require(try SlowFiles(script: "flashfiles.py")) }

    @Test func anErrorOfTheFlushIsAnsweredByAnotherFileOnce() throws {
      let flash = try dyingFlash()
      let host = try MachineHost(stateFolder: flash.path)
      defer {
        host.close()
        flash.end()
      }
      #expect(host.replace([1]) == .done)
      #expect(flash.command("count") == "2", "file and folder")
      flash.command("fail 1")
      #expect(host.replace(content) == .done)
      #expect(flash.command("count") == "5", "the first file, the second one, the folder")
      flash.command("fail 2")
      #expect(host.replace([2]) == .failed)
      #expect(flash.command("count") == "7")
      #expect(host.readRecord() == (.done, content))
      #expect(try FileManager.default.contentsOfDirectory(atPath: flash.path) == ["clock-floor"])
      #expect(host.append([1, 2], at: 0) == .done)
      flash.command("fail 1")
      #expect(host.append([3], at: 2) == .failed)
      #expect(host.append([1, 2, 3], to: 2, at: 0) == .done)
      #expect(host.find().range.count == 2)
    }

    /// The loop sleeps to its deadlines while the flash hangs, nobody is answered meanwhile, and when the time is over
    /// everybody is, until it comes back.
    @Test func aFlushThatHangsHoldsNothingUp() throws {
      let flash = try dyingFlash()
      let host = try MachineHost(stateFolder: flash.path, storageTimeout: .seconds(3))
      defer {
        host.close()
        flash.end()
      }
      #expect(host.replace([1]) == .done)
      flash.command("hold")
      let start = host.host.now()
      #expect(host.host.replaceRecord(.clock, content.span) == .pending)
      while host.host.now() - start < .milliseconds(200) {
        let deadline = host.host.now() + .milliseconds(20)
        repeat { host.host.wait(until: deadline) } while host.host.now() < deadline
        #expect(host.host.replaceRecord(.clock, content.span) == .pending)
        #expect(host.host.deleteSegment(StorageSegment(.queue, 1)) == .pending)
      }
      // Woken by nothing but the time limit.
      #expect(host.replace(content) == .failed)
      #expect(host.host.now() - start >= .seconds(3))
      #expect(host.host.deleteSegment(StorageSegment(.queue, 1)) == .failed)
      #expect(host.host.replaceRecord(.clock, content.span) == .failed)
      #expect(childStates(named: "mote-storage").count == 1, "it cannot be killed, and no other one is started")
      flash.command("release")
      var answer = StorageAnswer.failed
      let end = Date(timeIntervalSinceNow: 20)
      while answer != .done, Date() < end {
        host.wait(until: Date(timeIntervalSinceNow: 1))
        answer = host.replace(content)
      }
      #expect(answer == .done)
      #expect(host.readRecord() == (.done, content))
    }

    /// What is left of waiting: a fork for each operation, and at the end a limited time.
    @Test func onlyTheEndWaitsForFlashThatHangsAndNotForLong() throws {
      let flash = try dyingFlash()
      defer { flash.end() }
      let host = try MachineHost(stateFolder: flash.path)
      flash.command("hold")
      var longest = TimeSpan.zero
      for _ in 0..<50 {
        let start = System.bootTime()
        #expect(host.host.replaceRecord(.clock, content.span) == .pending)
        longest = max(longest, System.bootTime() - start)
        host.host.wait(until: start + .milliseconds(1))
      }
      #expect(longest < .milliseconds(500), "\(longest.milliseconds) ms")
      let start = System.bootTime()
      host.close()
      let span = System.bootTime() - start
      #expect(span >= .milliseconds(1900) && span < .seconds(10), "\(span.milliseconds) ms")
      flash.command("release")
      // Nobody but the end of the process would reap it.
      let end = Date(timeIntervalSinceNow: 20)
      while !childStates(named: "mote-storage").isEmpty, Date() < end {
        forEachChild { waitpid($0, nil, WNOHANG) }
        usleep(1000)
      }
    }

    @Test func theEndOfTheHostWaitsForWhatIsUnderWay() throws {
      let flash = try dyingFlash()
      defer { flash.end() }
      let first = try MachineHost(stateFolder: flash.path)
      flash.command("hold 0.2")
      #expect(first.host.replaceRecord(.clock, content.span) == .pending)
      first.close()
      let next = try MachineHost(stateFolder: flash.path)
      defer { next.close() }
      #expect(next.readRecord() == (.done, content))
    }

    @Test func aChildThatIsKilledIsAFailureAndTheNextOneWorks() throws {
      let flash = try dyingFlash()
      let host = try MachineHost(stateFolder: flash.path)
      defer {
        flash.end()
        host.close()
      }
      flash.freeze()
      #expect(host.host.replaceRecord(.clock, content.span) == .pending)
      #expect(host.host.replaceRecord(.clock, content.span) == .pending)
      // It has its name a moment after its start.
      let end = Date(timeIntervalSinceNow: 20)
      while childStates(named: "mote-storage").isEmpty, Date() < end { usleep(1000) }
      forEachChild { kill($0, SIGKILL) }
      #expect(host.replace(content) == .failed)
      #expect(childStates(named: "mote-storage").isEmpty)
    }

    private func forEachChild(_ body: (pid_t) -> Int32) {
      for entry in (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? [] {
        guard let process = Int32(entry),
          (try? String(contentsOfFile: "/proc/\(entry)/comm", encoding: .utf8)) == "mote-storage\n"
        else { continue }
        _ = body(process)
      }
    }
  }
}
