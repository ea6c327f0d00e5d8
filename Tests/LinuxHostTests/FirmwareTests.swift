import Bytes
import CLinux
import Firmware
import Foundation
import HostInterface
import TestSupport
import Testing

@testable import LinuxHost

extension MachineHost {
  /// What a configuration says about firmware.
  func useFirmware(run: String = "", keyFile: String = "", slots: (a: String, b: String) = ("", "")) throws {
    var arena = makeArena(byteCount: 1 << 16)
    let (run, keyFile, slotA, slotB) = (Array(run.utf8), Array(keyFile.utf8), Array(slots.a.utf8), Array(slots.b.utf8))
    let plan = FirmwarePlan(
      isConfigured: true, isOwn: run.isEmpty, run: run.span, slotA: slotA.span, slotB: slotB.span, keyFile: keyFile.span
    )
    try host.useFirmware(plan, from: &arena)
  }

  func prepare(
    _ place: FirmwarePlace = .slotA, header: [UInt8] = [1, 2, 3], byteCount: UInt64 = 1000, from offset: UInt64 = 0
  ) -> StorageAnswer {
    finish { $0.prepareImage(place, header: header.span, byteCount: byteCount, from: offset) }
  }

  func write(_ bytes: [UInt8], at offset: UInt64 = 0) -> StorageAnswer {
    finish { $0.writeImage(at: offset, bytes.span) }
  }

  func readBack(_ place: FirmwarePlace = .slotA, _ byteCount: UInt64) -> (StorageAnswer, [UInt8]) {
    var digest = InlineArray<32, UInt8>(repeating: 0)
    let answer = finish { $0.readBackImage(place, byteCount: byteCount, &digest) }
    return (answer, (0..<32).map { digest[$0] })
  }

  func readSlots() -> (StorageAnswer, [UInt8]) {
    var buffer = makeBuffer(capacity: 600)
    let answer = finish { $0.readSlotRecord(into: &buffer) }
    return (answer, Array(buffer.span))
  }

  func start(_ task: InstallerTask = .install, _ place: FirmwarePlace = .file, version: String = "1.5.0") -> Bool {
    let bytes = Array(version.utf8)
    return host.startInstaller(task, place, version: bytes.span)
  }

  func stopInstaller() { host.stopInstaller() }

  var keyCount: Int { host.trustedKeyCount }

  func isSigned(_ message: String, by identifier: UInt32, _ signature: [UInt8]) -> Bool {
    let bytes = Array(message.utf8)
    let digest = host.digest(of: bytes.span, behind: RunningHash())
    return host.isSigned(digest, byKey: identifier, signature.span)
  }

  /// SHA-256 of both, with the state stored in between.
  func digest(_ beginning: [UInt8], _ rest: [UInt8]) -> [UInt8] {
    var hash = RunningHash()
    host.add(beginning.span, to: &hash)
    let resumed = RunningHash(words: hash.words, byteCount: hash.byteCount)
    let digest = host.digest(of: rest.span, behind: resumed)
    return (0..<32).map { digest[$0] }
  }

  func digest(_ bytes: [UInt8]) -> [UInt8] {
    let digest = host.digest(of: bytes.span, behind: RunningHash())
    return (0..<32).map { digest[$0] }
  }

  /// Polls the installer until it has ended.
  func awaitInstaller() -> (ProgramState, String) {
    let end = Date(timeIntervalSinceNow: 20)
    var output = makeBuffer(capacity: 4096)
    while true {
      let state = host.pollInstaller(output: &output)
      if state != .running || Date() > end { return (state, output.text) }
      wait(until: end)
    }
  }
}

extension MachineTests {
  /// Images, slots and installers on a real file system.
  @Suite struct FirmwareTests {
    private func bytes(_ count: Int) -> [UInt8] { (0..<count).map { UInt8(truncatingIfNeeded: $0 * 31 >> 3) } }

    private func content(_ folder: TemporaryFolder, _ name: String) -> [UInt8]? {
      FileManager.default.contents(atPath: folder.path + "/firmware/" + name).map { Array($0) }
    }

    /// The processes that this one has started, whichever of its threads did.
    private func children() throws -> [pid_t] {
      try FileManager.default.contentsOfDirectory(atPath: "/proc/self/task").flatMap { task in
        try String(contentsOfFile: "/proc/self/task/\(task)/children", encoding: .utf8).split(separator: " ")
          .compactMap { pid_t($0) }
          .filter { (try? String(contentsOfFile: "/proc/\($0)/comm", encoding: .utf8)) == "mote-storage\n" }
      }
    }

    @Test func anImageIsWrittenFlushedAndReadBack() throws {
      let folder = try TemporaryFolder()
      let host = try MachineHost(stateFolder: folder.path)
      defer { host.close() }
      try host.useFirmware()
      let image = bytes(150_000)
      #expect(host.prepare(byteCount: 150_000) == .done)
      // The largest block there is.
      #expect(host.write(Array(image[..<65_536])) == .done)
      #expect(host.write(Array(image[65_536..<131_072]), at: 65_536) == .done)
      #expect(host.finish { $0.flushImage() } == .done)
      #expect(host.write(Array(image[131_072...]), at: 131_072) == .done)
      #expect(host.finish { $0.finishImage(byteCount: 150_000) } == .done)
      #expect(host.readBack(.slotA, 150_000) == (.done, host.digest(image)))
      #expect(host.readBack(.slotA, 149_999).0 == .damaged)
      #expect(content(folder, "a") == image && content(folder, "a.header") == [1, 2, 3])
      let mode = try FileManager.default.attributesOfItem(atPath: folder.path + "/firmware/a")[.posixPermissions]
      #expect(mode as? Int == 0o700)
      #expect(host.finish { $0.discardImage(.slotA) } == .done)
      #expect(content(folder, "a") == nil && content(folder, "a.header") == nil)
      #expect(host.finish { $0.discardImage(.slotA) } == .done)
      // Nothing is kept running.
      let end = Date(timeIntervalSinceNow: 20)
      while try children() != [], Date() < end { host.wait(until: Date(timeIntervalSinceNow: 0.1)) }
      #expect(try children() == [])
    }

    @Test func aWriteGoesOnWhereItWas() throws {
      let folder = try TemporaryFolder()
      let host = try MachineHost(stateFolder: folder.path)
      defer { host.close() }
      try host.useFirmware()
      #expect(host.prepare(from: 10) == .damaged)
      #expect(host.prepare() == .done)
      #expect(host.write(bytes(500)) == .done)
      #expect(host.prepare(from: 501) == .damaged)
      #expect(host.prepare(from: 400) == .done)
      #expect(host.write(bytes(1000).suffix(600), at: 400) == .done)
      #expect(host.finish { $0.finishImage(byteCount: 1000) } == .done)
      #expect(content(folder, "a") == bytes(1000))
      // Only behind another preparation.
      #expect(host.write([1], at: 1000) == .failed)
    }

    // MARK: Slots of a system

    /// Two files as slots, of so many bytes.
    private func slots(_ folder: TemporaryFolder, _ byteCount: Int = 200_000) throws -> (a: String, b: String) {
      let slots = (a: folder.path + "/slot-a", b: folder.path + "/slot-b")
      for path in [slots.a, slots.b] { try Data(count: byteCount).write(to: URL(fileURLWithPath: path)) }
      return slots
    }

    @Test func aSlotIsWrittenInPlaceAndKeepsItsLength() throws {
      let folder = try TemporaryFolder()
      let host = try MachineHost(stateFolder: folder.path)
      defer { host.close() }
      let slots = try slots(folder)
      try host.useFirmware(run: "/bin/true", slots: slots)
      let image = bytes(150_000)
      #expect(host.prepare(.slotB, byteCount: 150_000) == .done)
      #expect(host.write(Array(image[..<65_536])) == .done)
      #expect(host.finish { $0.flushImage() } == .done)
      // A power cut, and what was durable is written over.
      #expect(host.prepare(.slotB, byteCount: 150_000, from: 60_000) == .done)
      for offset in stride(from: 60_000, to: 150_000, by: 30_000) {
        #expect(host.write(Array(image[offset..<(offset + 30_000)]), at: UInt64(offset)) == .done)
      }
      #expect(host.finish { $0.finishImage(byteCount: 150_000) } == .done)
      #expect(host.readBack(.slotB, 150_000) == (.done, host.digest(image)))
      let content = try Data(contentsOf: URL(fileURLWithPath: slots.b))
      #expect(content.count == 200_000 && content.prefix(150_000) == Data(image))
      #expect(try Data(contentsOf: URL(fileURLWithPath: slots.a)) == Data(count: 200_000))
      // Nothing of it is kept elsewhere, and what nobody wants stays where it is.
      #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path + "/firmware") == [])
      #expect(host.finish { $0.discardImage(.slotB) } == .done)
      #expect(try Data(contentsOf: URL(fileURLWithPath: slots.b)) == content)
    }

    @Test func aSlotThatMustNotBeWrittenIsNot() throws {
      let folder = try TemporaryFolder()
      let host = try MachineHost(stateFolder: folder.path)
      defer { host.close() }
      let slots = try slots(folder, 1000)
      let other = folder.path + "/link"
      try FileManager.default.createSymbolicLink(atPath: other, withDestinationPath: slots.a)
      for (b, byteCount, answer) in [
        (slots.b, 1001, StorageAnswer.noSpace), (other, 1000, .inUse), (folder.path + "/none", 1000, .notFound),
        ("/dev/null", 1000, .failed),
      ] {
        try host.useFirmware(run: "/bin/true", slots: (slots.a, b))
        #expect(host.prepare(.slotB, byteCount: UInt64(byteCount)) == answer, "\(b)")
        #expect(host.write([1]) == .failed)
      }
      #expect(try Data(contentsOf: URL(fileURLWithPath: slots.a)) == Data(count: 1000))
    }

    /// A loop device, where the machine has them: mounted, it is in use, and read-only, it is not written.
    @Test func aDeviceThatIsInUseIsNotWritten() throws {
      let folder = try TemporaryFolder()
      let slots = try slots(folder, 2 << 20)
      guard let device = run("/sbin/losetup", "--find", "--show", slots.b) else { return }
      defer { _ = run("/sbin/losetup", "--detach", device) }
      let host = try MachineHost(stateFolder: folder.path)
      defer { host.close() }
      try host.useFirmware(run: "/bin/true", slots: (slots.a, device))
      #expect(host.prepare(.slotB, byteCount: 1 << 20) == .done)
      #expect(host.write(bytes(65_000)) == .done)
      #expect(host.finish { $0.finishImage(byteCount: 65_000) } == .done)
      #expect(host.readBack(.slotB, 65_000) == (.done, host.digest(bytes(65_000))))
      #expect(host.prepare(.slotB, byteCount: 3 << 20) == .noSpace)
      if let fixed = run("/sbin/losetup", "--find", "--show", "--read-only", slots.a) {
        defer { _ = run("/sbin/losetup", "--detach", fixed) }
        try host.useFirmware(run: "/bin/true", slots: (device, fixed))
        #expect(host.prepare(.slotB, byteCount: 1000) == .readOnly)
      }
      // Both are the same device, by two names.
      let name = folder.path + "/device"
      try FileManager.default.createSymbolicLink(atPath: name, withDestinationPath: device)
      try host.useFirmware(run: "/bin/true", slots: (name, device))
      #expect(host.prepare(.slotB, byteCount: 1000) == .inUse)
      try host.useFirmware(run: "/bin/true", slots: (slots.a, device))
      let mount = folder.path + "/mount"
      try FileManager.default.createDirectory(atPath: mount, withIntermediateDirectories: false)
      if run("/sbin/mke2fs", "-q", device) != nil, run("/bin/mount", device, mount) != nil {
        #expect(host.prepare(.slotB, byteCount: 1000) == .inUse)
        _ = run("/bin/umount", mount)
        #expect(host.prepare(.slotB, byteCount: 1000) == .done)
      } else {
        print("nothing can be mounted here")
      }
    }

    /// What a program has written; nil where it failed.
    private func run(_ path: String, _ arguments: String...) -> String? {
      let process = Process()
      let output = Pipe()
      process.executableURL = URL(fileURLWithPath: path)
      process.arguments = arguments
      (process.standardOutput, process.standardError) = (output, FileHandle.nullDevice)
      guard (try? process.run()) != nil else { return nil }
      let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
      process.waitUntilExit()
      return process.terminationStatus == 0 ? text.trimmingCharacters(in: .newlines) : nil
    }

    @Test func aProgramForSlotsIsToldWhatToDo() throws {
      let folder = try TemporaryFolder()
      let program = folder.path + "/slots"
      try Data("#!/bin/sh\necho \"$*, $MOTE_FIRMWARE_VERSION\"\n".utf8).write(to: URL(fileURLWithPath: program))
      try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: program)
      let host = try MachineHost(stateFolder: folder.path)
      defer { host.close() }
      try host.useFirmware(run: program, slots: try slots(folder))
      for (task, words) in [(InstallerTask.state, "state"), (.tryOut, "try b"), (.commit, "commit b")] {
        #expect(host.start(task, .slotB))
        #expect(host.awaitInstaller() == (.exited(0), "\(words), 1.5.0\n"))
      }
    }

    @Test func aProcessThatIsKilledIsAnAnswer() throws {
      let folder = try TemporaryFolder()
      let host = try MachineHost(stateFolder: folder.path)
      defer { host.close() }
      try host.useFirmware()
      #expect(host.prepare() == .done)
      kill(try #require(try children().first), SIGKILL)
      #expect(host.write([1]) == .failed)
      #expect(host.prepare() == .done)
      #expect(host.write([1]) == .done)
    }

    @Test func whatCannotBeStoredIsAnAnswer() throws {
      let folder = try TemporaryFolder()
      let host = try MachineHost(stateFolder: folder.path + "/none")
      defer { host.close() }
      try host.useFirmware()
      #expect(host.prepare() == .readOnly)
      #expect(host.readSlots().0 == .readOnly)
      let full = try MachineHost(stateFolder: folder.path)
      try full.useFirmware()
      #expect(full.prepare(byteCount: 1 << 60) == .noSpace)
      full.close()
    }

    @Test func bothCopiesOfTheRecordAreKept() throws {
      let folder = try TemporaryFolder()
      let host = try MachineHost(stateFolder: folder.path)
      defer { host.close() }
      try host.useFirmware()
      #expect(host.readSlots().0 == .notFound)
      let (first, second) = (bytes(256), bytes(512).suffix(256).map { $0 })
      #expect(host.finish { $0.replaceSlotRecord(copy: 1, second.span) } == .done)
      #expect(host.readSlots() == (.done, [UInt8](repeating: 0, count: 256) + second))
      #expect(host.finish { $0.replaceSlotRecord(copy: 0, first.span) } == .done)
      #expect(host.readSlots() == (.done, first + second))
      try FileManager.default.removeItem(atPath: folder.path + "/firmware/slots.0")
      #expect(host.readSlots() == (.done, [UInt8](repeating: 0, count: 256) + second))
    }

    @Test func aHashGoesOnFromItsState() throws {
      let host = try MachineHost()
      defer { host.close() }
      for count in [0, 64, 640, 65_536] {
        #expect(host.digest(bytes(count), [1, 2, 3]) == host.digest(bytes(count) + [1, 2, 3]))
      }
    }

    // MARK: Keys

    private func openssl(_ arguments: String...) throws {
      let process = Process()
      process.executableURL = URL(fileURLWithPath: "/usr/bin/openssl")
      process.arguments = arguments
      process.standardError = FileHandle.nullDevice
      process.standardOutput = FileHandle.nullDevice
      try process.run()
      process.waitUntilExit()
      #expect(process.terminationStatus == 0)
    }

    @Test func severalKeysAreTrusted() throws {
      let folder = try TemporaryFolder()
      var all = "# for e7\n"
      for name in ["one", "large", "two", "three", "four", "five"] {
        let curve = name == "large" ? "secp384r1" : "prime256v1"
        try openssl("ecparam", "-name", curve, "-genkey", "-noout", "-out", "\(folder.path)/\(name)")
        try openssl("pkey", "-in", "\(folder.path)/\(name)", "-pubout", "-out", "\(folder.path)/\(name).pub")
        all += try String(contentsOfFile: "\(folder.path)/\(name).pub", encoding: .utf8)
      }
      try folder.write("all.pub", all)
      try folder.write("message", "hello")
      let host = try MachineHost()
      defer { host.close() }
      try host.useFirmware(keyFile: folder.path + "/all.pub")
      #expect(host.keyCount == 4)
      for (name, isTrusted) in [("one", true), ("two", true), ("four", true), ("five", false), ("large", false)] {
        try openssl(
          "dgst", "-sha256", "-sign", "\(folder.path)/\(name)", "-out", "\(folder.path)/signature",
          "\(folder.path)/message")
        let signature = Array(try #require(FileManager.default.contents(atPath: folder.path + "/signature")))
        try openssl(
          "pkey", "-pubin", "-in", "\(folder.path)/\(name).pub", "-outform", "DER", "-out", "\(folder.path)/der")
        let der = Array(try #require(FileManager.default.contents(atPath: folder.path + "/der")))
        let identifier = host.digest(der)[..<4].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
        #expect(host.isSigned("hello", by: identifier, signature) == isTrusted, "\(name)")
        #expect(host.isSigned("hello", by: identifier ^ 1, signature) == false)
        #expect(host.isSigned("hellO", by: identifier, signature) == false)
      }
      for bad in ["none", "one"] {
        try host.useFirmware(keyFile: "\(folder.path)/\(bad)")
        #expect(host.keyCount == 0)
      }
    }

    // MARK: Installing

    private func install(_ script: String, version: String = "1.5.0") throws -> (ProgramState, String) {
      let folder = try TemporaryFolder()
      try folder.write("install", "#!/bin/sh\n" + script)
      chmod(folder.path + "/install", 0o755)
      let host = try MachineHost(stateFolder: folder.path)
      defer { host.close() }
      try host.useFirmware(run: folder.path + "/install")
      #expect(host.start(version: version))
      let (state, output) = host.awaitInstaller()
      return (state, output.replacingOccurrences(of: folder.path, with: "STATE"))
    }

    @Test func anInstallerGetsTheImage() throws {
      let report = "echo \"$# $1 $MOTE_FIRMWARE_VERSION $(pwd)\"; echo end >&2; exit "
      #expect(try install(report + "0") == (.exited(0), "1 STATE/firmware/image 1.5.0 /\nend\n"))
      #expect(try install(report + "10").0 == .exited(10))
      #expect(try install("kill -9 $$").0 == .signalled(9))
    }

    @Test func anInstallerThatIsNotThereHasAStatus() throws {
      let host = try MachineHost(stateFolder: "/tmp")
      defer { host.close() }
      #expect(host.start() == false)
      try host.useFirmware(run: "/none")
      #expect(host.start())
      #expect(host.awaitInstaller().0 == .exited(126))
    }

    @Test func anInstallerCanBeStopped() throws {
      let folder = try TemporaryFolder()
      try folder.write("install", "#!/bin/sh\nsleep 60 & wait")
      chmod(folder.path + "/install", 0o755)
      let host = try MachineHost(stateFolder: folder.path)
      defer { host.close() }
      try host.useFirmware(run: folder.path + "/install")
      #expect(host.start())
      host.stopInstaller()
      #expect(host.awaitInstaller().0 == .signalled(9))
    }
  }
}
