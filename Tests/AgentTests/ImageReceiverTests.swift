import AgentConfiguration
import Bytes
import Firmware
import HostInterface
import Simulator
import TestSupport
import Testing

@testable import Agent

/// A receiver over a simulated machine.
private final class Bench {
  let disk = SimulatedDisk()
  var host: SimulatedFirmware
  var slots = SlotRecord()
  private let settings: Settings
  private var receiver: ImageReceiver
  private var arena: Arena
  /// Where the transfer was sent to.
  private(set) var wishes: [UInt64] = []
  private(set) var checkpoints: [[UInt8]] = []

  init(_ keys: String = "key-file = /k\ncompatible = acme-e7\n") throws {
    var arena = makeArena(byteCount: 1 << 20)
    settings = try makeSettings(
      """
      [device]
      org = ab12cd
      type = edge
      id = e7
      auth-token = secret
      [management]
      [firmware]
      \(keys)
      """, from: &arena)
    receiver = ImageReceiver(isUsed: true, in: &arena)
    self.arena = arena
    host = SimulatedFirmware(disk: disk)
  }

  /// The power comes back, and what was in memory is gone.
  func restart(_ fate: Fate) throws {
    disk.restart(fate)
    host = SimulatedFirmware(disk: disk)
    var arena = makeArena(byteCount: 1 << 20)
    receiver = ImageReceiver(isUsed: true, in: &arena)
    self.arena = arena
  }

  func begin(
    _ place: FirmwarePlace = .slotA, version: String = "", verifier: String = "", checkpoint: [UInt8]? = nil
  ) {
    let (version, verifier) = (Array(version.utf8), Array(verifier.utf8))
    receiver.begin(
      place, version: version.span, verifier: verifier.span, checkpoint: checkpoint.map { ImageCheckpoint($0.span) })
  }

  /// Hands over `file` in pieces of `piece` bytes until it ends, or the power does; nil then.
  func transfer(_ file: [UInt8], piece: Int = 1000, tellsTotal: Bool = true) -> ReceiverAnswer? {
    var position = 0
    var idle = 0
    while !disk.isOff {
      precondition(Int(receiver.position) == position)
      let rest = Array(file[position..<min(position + piece, file.count)])
      let answer = receiver.take(
        rest.span, isComplete: position + rest.count == file.count, total: tellsTotal ? UInt64(file.count) : nil,
        settings, slots, &host)
      idle += 1
      switch answer {
      case .took(let count):
        if count > 0 { idle = 0 }
        position += count
      case .pending: break
      case .wants(let offset):
        wishes.append(offset)
        position = Int(offset)
      case .verified, .failed: return answer
      }
      var stored = makeBuffer()
      receiver.checkpoint?.append(to: &stored)
      if !stored.isEmpty, checkpoints.last != Array(stored.span) { checkpoints.append(Array(stored.span)) }
      precondition(idle < 100, "it does not come to an end")
    }
    return nil
  }

  var version: String { versionText(receiver) }
}

private func versionText(_ receiver: borrowing ImageReceiver) -> String {
  let version = receiver.bundleVersion
  return Array(version).text
}

private func bytes(_ count: Int) -> [UInt8] { (0..<count).map { UInt8(truncatingIfNeeded: $0 * 31 >> 3) } }

private func bundle(_ count: Int = 10_000, _ change: (inout SimulatedBundle) -> Void = { _ in }) -> [UInt8] {
  var bundle = SimulatedBundle()
  bundle.image = bytes(count)
  change(&bundle)
  return bundle.bytes
}

private func verifier(_ file: [UInt8], _ prefix: String = "sha256:") -> String {
  prefix + SimulatedHash.digest(of: file).map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
}

@Suite struct ImageReceiverTests {
  /// FIPS 180-4's examples, in both ways of adding.
  @Test func theHashOfTheseTestsIsRight() {
    let hex = verifier(Array("abc".utf8), "")
    #expect(hex == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    var hash = RunningHash()
    SimulatedHash.add(bytes(640), to: &hash)
    #expect(SimulatedHash.digest(of: [1, 2, 3], behind: hash) == SimulatedHash.digest(of: bytes(640) + [1, 2, 3]))
  }

  // MARK: Bundles

  @Test(arguments: [1, 4063, 4064, 4065, 8128, 20_000], [1, 511, 512, 4096, 100_000])
  func aBundleIsWrittenAsItWasSigned(_ count: Int, _ piece: Int) throws {
    let bench = try Bench()
    let file = bundle(count)
    bench.begin(version: "1.5.0", verifier: verifier(file))
    // A byte at a time is slow.
    guard piece > 1 || count < 5000 else { return }
    #expect(bench.transfer(file, piece: piece) == .verified)
    #expect(bench.disk["a"] == bytes(count))
    #expect(bench.disk["a.header"] == Array(file[..<512]))
    #expect(bench.version == "1.5.0")
    #expect(bench.wishes == [])
  }

  @Test(arguments: [12, 13, 14, 15, 16] as [UInt8])
  func blocksHaveTheirSizes(_ exponent: UInt8) throws {
    let bench = try Bench()
    bench.begin(.slotB)
    #expect(bench.transfer(bundle(200_000) { $0.exponent = exponent }, piece: 70_000) == .verified)
    #expect(bench.disk["b"] == bytes(200_000))
  }

  private func refusal(
    _ change: (inout SimulatedBundle) -> Void, _ keys: String = "key-file = /k\ncompatible = acme-e7\n",
    version: String = "", prepare: (Bench) -> Void = { _ in }
  ) throws -> ReceiverAnswer? {
    let bench = try Bench(keys)
    prepare(bench)
    bench.begin(version: version)
    let answer = bench.transfer(bundle(100, change))
    // Nothing has been touched then.
    if case .failed = answer { #expect(bench.disk.fileNames == []) }
    return answer
  }

  @Test func aSignatureByATrustedKeyCannotBeSkipped() throws {
    #expect(try refusal { $0.keys = [] } == .failed(status: 4, "not-signed"))
    #expect(try refusal { $0.keys = [2] } == .failed(status: 4, "not-signed"))
    #expect(try refusal { $0.keys = [2, 1] } == .verified)
    #expect(try refusal({ _ in }, prepare: { $0.host.keys = [] }) == .failed(status: 4, "not-signed"))
    #expect(try refusal({ $0.keys = [2] }, prepare: { $0.host.keys = [1, 2] }) == .verified)
    let command = "installer = command\nrun = /x\nkey-file = /k\ncompatible = acme-e7\n"
    #expect(try refusal({ ($0.kind, $0.keys) = (3, []) }, command) == .failed(status: 4, "not-signed"))
  }

  @Test func anImageForAnotherDeviceIsRefused() throws {
    #expect(try refusal { $0.compatible = "acme-e8" } == .failed(status: 5, "not-compatible"))
    #expect(try refusal { $0.compatible = "acme-e" } == .failed(status: 5, "not-compatible"))
    #expect(try refusal { $0.machine = 1 } == .failed(status: 5, "wrong-machine"))
    #expect(try refusal { $0.machine = BundleHeader.ownMachine } == .verified)
    #expect(try refusal { $0.kind = 2 } == .failed(status: 5, "wrong-kind"))
    #expect(try refusal { $0.kind = 3 } == .failed(status: 5, "wrong-kind"))
    #expect(try refusal({ _ in }, version: "1.5.1") == .failed(status: 5, "wrong-version"))
    let long = String(repeating: "1", count: 33)
    #expect(try refusal({ $0.version = String(long.dropLast()) }, version: long) == .failed(status: 5, "wrong-version"))
  }

  @Test func aDowngradeIsRefusedUnlessAllowed() throws {
    func raise(_ bench: Bench) {
      let version = Array("1".utf8)
      bench.slots.noteVerified(.slotB, Digest(bytes(32).span), version: version.span, securityVersion: 5)
      bench.slots.beginTrial(.slotB)
      bench.slots.commit(.slotB)
    }
    #expect(try refusal({ $0.securityVersion = 4 }, prepare: raise) == .failed(status: 5, "downgrade"))
    #expect(try refusal({ $0.securityVersion = 5 }, prepare: raise) == .verified)
    let keys = "key-file = /k\ncompatible = acme-e7\nallow-downgrade = yes\n"
    #expect(try refusal({ $0.securityVersion = 4 }, keys, prepare: raise) == .verified)
  }

  @Test func whatWasRevertedIsNotTakenAgain() throws {
    func revert(_ bench: Bench) {
      let version = Array("1".utf8)
      let digest = SimulatedHash.digest(of: bytes(100))
      bench.slots.noteVerified(.slotB, Digest(digest.span), version: version.span, securityVersion: 0)
      bench.slots.beginTrial(.slotB)
      bench.slots.noteFailure(.exited, detail: 1, isFinal: true)
    }
    #expect(try refusal({ _ in }, prepare: revert) == .failed(status: 5, "reverted"))
    #expect(try refusal({ $0.image += [1] }, prepare: revert) == .verified)
  }

  @Test func sizesHaveTheirBounds() throws {
    let keys = "key-file = /k\ncompatible = acme-e7\nimage-size = 1KB\n"
    #expect(try refusal({ $0.image = bytes(1025) }, keys) == .failed(status: 2, "too-large"))
    #expect(try refusal({ $0.image = bytes(1024) }, keys) == .verified)
  }

  @Test func otherFilesAreRefusedByTheirBeginning() throws {
    let bench = try Bench()
    for (file, reason) in [
      (Array("<html>login</html>".utf8), "truncated"), (bytes(5000), "not-a-bundle"), ([], "truncated"),
      ([0x89, 0x4D, 0x4F, 0x54, 0x45, 0x0D, 0x0A, 0x1A], "truncated"),
    ] as [([UInt8], StaticString)] {
      bench.begin()
      let answer = bench.transfer(file)
      #expect(answer == .failed(status: 5, file.count == 18 ? "not-a-bundle" : reason))
    }
    #expect(bench.disk.fileNames == [])
  }

  /// Each bit of header and blocks, and each length.
  @Test func whatIsDamagedIsNeverTaken() throws {
    let file = bundle(5000)
    let positions = Array(0..<512) + Array(stride(from: 512, to: file.count, by: 97))
    // The second signature, and what says nothing about the image: the padding of the first one is looked at, too.
    for position in positions where position < 432 || position >= 512 {
      var damaged = file
      damaged[position] ^= 1 << UInt8(position % 8)
      let bench = try Bench()
      bench.begin()
      guard case .failed = bench.transfer(damaged, piece: 4096) else {
        Issue.record("byte \(position) is taken")
        continue
      }
      #expect(bench.disk["a"] == nil || position >= 512)
    }
    for count in [0, 1, 511, 512, 513, 4607, 4608, 4609, file.count - 1] {
      let bench = try Bench()
      bench.begin()
      guard case .failed = bench.transfer(Array(file[..<count]), tellsTotal: false) else {
        Issue.record("\(count) bytes are taken")
        continue
      }
    }
    let bench = try Bench()
    bench.begin()
    #expect(bench.transfer(file + [0], tellsTotal: false) == .failed(status: 4, "surplus"))
    bench.begin()
    #expect(bench.transfer(file + [0]) == .failed(status: 4, "wrong-length"))
  }

  @Test func theVerifierCountsBesidesTheSignature() throws {
    let file = bundle()
    let bench = try Bench()
    for (text, answer) in [
      (verifier(file), .verified), (verifier(file, ""), .verified), (verifier(file).uppercased(), .verified),
      (verifier(file, "").uppercased(), .verified), ("", .verified), ("d41d8cd98f00b204e9800998ecf8427e", .verified),
      (verifier(bytes(3)), .failed(status: 4, "wrong-verifier")),
    ] as [(String, ReceiverAnswer)] {
      bench.begin(verifier: text)
      #expect(bench.transfer(file) == answer, "\(text)")
    }
  }

  // MARK: Files without a header

  private static let anything = "installer = command\nrun = /x\n"

  @Test(arguments: [1, 511, 512, 513, 16_383, 16_384, 16_385, 32_768, 50_000])
  func aFileOfAnotherKindIsCheckedByItsVerifier(_ count: Int) throws {
    for tellsTotal in [true, false] {
      let bench = try Bench(Self.anything)
      bench.begin(.file, version: "9", verifier: verifier(bytes(count)))
      #expect(bench.transfer(bytes(count), tellsTotal: tellsTotal) == .verified)
      #expect(bench.disk["image"] == bytes(count))
      bench.begin(.file, verifier: verifier(bytes(count + 1)))
      #expect(bench.transfer(bytes(count), tellsTotal: tellsTotal) == .failed(status: 4, "wrong-verifier"))
    }
  }

  @Test func aFileOfAnotherKindNeedsAVerifierAndNoKey() throws {
    let bench = try Bench(Self.anything)
    for text in ["", "d41d8cd98f00b204e9800998ecf8427e"] {
      bench.begin(.file, verifier: text)
      #expect(bench.transfer(bytes(600)) == .failed(status: 4, "no-verifier"))
    }
    bench.begin(.file, verifier: verifier([]))
    #expect(bench.transfer([]) == .failed(status: 4, "truncated"))
    let keyed = try Bench(Self.anything + "key-file = /k\ncompatible = c\n")
    keyed.begin(.file, verifier: verifier(bytes(600)))
    #expect(keyed.transfer(bytes(600)) == .failed(status: 5, "not-a-bundle"))
    let small = try Bench(Self.anything + "image-size = 1KB\n")
    small.begin(.file, verifier: verifier(bytes(2000)))
    #expect(small.transfer(bytes(2000)) == .failed(status: 2, "too-large"))
    small.begin(.file, verifier: verifier(bytes(2000)))
    #expect(small.transfer(bytes(2000), tellsTotal: false) == .failed(status: 2, "too-large"))
  }

  @Test func aBundleForACommandIsWrittenWithoutItsHeader() throws {
    let bench = try Bench(Self.anything)
    bench.begin(.file)
    #expect(bench.transfer(bundle { ($0.kind, $0.keys) = (3, []) }) == .verified)
    #expect(bench.disk["image"] == bytes(10_000))
  }

  // MARK: Faults

  @Test func flashThatFailsIsTriedOnceMore() throws {
    let file = bundle(1_200_000) { $0.exponent = 16 }
    let points = try faultPoints(of: file)
    let lastFlush = try lastFlush(of: file)
    for call in points {
      let bench = try Bench()
      bench.disk.faults.failing = [call]
      bench.begin()
      let answer = bench.transfer(file, piece: 1 << 16)
      #expect(answer == .verified || answer == .failed(status: 2, "failed"), "call \(call)")
      if answer == .verified { #expect(bench.disk["a"] == bytes(1_200_000)) }
      let dead = try Bench()
      dead.disk.faults.failingFrom = call
      dead.begin()
      // The last calls only read.
      let end = dead.transfer(file, piece: 1 << 16)
      #expect(end == .failed(status: 2, "failed") || call > lastFlush, "from call \(call): \(String(describing: end))")
    }
  }

  @Test func aFullOrReadOnlyDiskIsAnAnswer() throws {
    let file = bundle(30_000)
    for call in try 0..<(calls(of: file) - 5) {
      let bench = try Bench()
      bench.disk.faults.readOnlyFrom = call
      bench.begin()
      #expect(bench.transfer(file) == .failed(status: 2, "read-only"), "from call \(call)")
    }
    for capacity in [0, 20_000, 30_000, 262_144, 262_144 + 29_999] {
      let bench = try Bench()
      bench.disk.faults.capacity = capacity
      bench.begin()
      #expect(bench.transfer(file) == .failed(status: 2, "no-space"), "\(capacity) bytes")
    }
    let bench = try Bench()
    bench.disk.faults.capacity = 262_144 + 30_000
    bench.begin()
    #expect(bench.transfer(file) == .verified)
  }

  /// The calls worth a fault: of many alike in a row, the first ones.
  private func faultPoints(of file: [UInt8]) throws -> [Int] {
    let bench = try Bench()
    bench.begin()
    #expect(bench.transfer(file, piece: 1 << 16) == .verified)
    let kinds = bench.disk.trace.map { $0.prefix(5) }
    return kinds.indices.filter { index in
      index < 4 || !kinds[(index - 4)..<index].allSatisfy { $0 == kinds[index] } || index == kinds.count - 1
    }
  }

  /// Behind it everything only reads.
  private func lastFlush(of file: [UInt8]) throws -> Int {
    let bench = try Bench()
    bench.begin()
    #expect(bench.transfer(file, piece: 1 << 16) == .verified)
    return try #require(bench.disk.trace.lastIndex(of: "flush folder"))
  }

  private func calls(of file: [UInt8]) throws -> Int {
    let bench = try Bench()
    bench.begin()
    #expect(bench.transfer(file, piece: 1 << 16) == .verified)
    return bench.disk.callCount
  }

  @Test func theProcessThatWritesMayEnd() throws {
    let file = bundle(30_000)
    for first in [1, 2] {
      let bench = try Bench()
      bench.begin()
      bench.host.failures = first
      let answer = bench.transfer(file)
      #expect(answer == (first == 1 ? .verified : .failed(status: 2, "failed")))
      #expect(bench.wishes == [0])
    }
  }

  @Test func whatRunsIsNotWrittenTo() throws {
    let bench = try Bench()
    bench.host.running = .slotA
    bench.begin(.slotA)
    #expect(bench.transfer(bundle()) == .failed(status: 2, "read-only"))
    #expect(bench.disk.fileNames == [])
  }

  /// The power fails in each call; what is on the disk then goes on from the last checkpoint, and becomes the image.
  @Test func aPowerCutAnywhereIsGoneOnFrom() throws {
    let image = bytes(1_200_000)
    let file = bundle(1_200_000) { $0.exponent = 16 }
    var points = 0
    var resumed = 0
    for call in try faultPoints(of: file) {
      // All of what was not flushed, none of it, and something in between.
      for fate in [Fate(), Fate(seed: UInt64(call))] {
        let bench = try Bench()
        bench.disk.faults.cutAt = call
        bench.begin(verifier: verifier(file))
        #expect(bench.transfer(file, piece: 1 << 16) == nil)
        let checkpoint = bench.checkpoints.last
        try bench.restart(fate)
        bench.begin(verifier: verifier(file), checkpoint: checkpoint)
        #expect(bench.transfer(file, piece: 1 << 16) == .verified)
        #expect(bench.disk["a"] == image)
        points += 1
        if let wish = bench.wishes.first, wish > 512 { resumed += 1 }
      }
    }
    #expect(resumed > 0)
    print("power cuts while receiving: \(points), gone on from a checkpoint: \(resumed)")
  }

  @Test func anotherImageBeginsAnew() throws {
    let first = bundle(1_200_000) { $0.exponent = 16 }
    let second = bundle(1_150_000) { ($0.exponent, $0.version) = (16, "1.6.0") }
    let bench = try Bench()
    bench.begin()
    #expect(bench.transfer(first, piece: 1 << 16) == .verified)
    let checkpoint = try #require(bench.checkpoints.last)
    bench.begin(checkpoint: checkpoint)
    #expect(bench.transfer(second, piece: 1 << 16) == .verified)
    #expect(bench.wishes == [] && bench.disk["a"] == bytes(1_150_000))
  }

  /// A checkpoint of the right header that says nonsense costs a second transfer, and nothing else.
  @Test func aWrongCheckpointIsFoundOut() throws {
    let file = bundle(1_200_000) { $0.exponent = 16 }
    let bench = try Bench()
    bench.begin()
    #expect(bench.transfer(file, piece: 1 << 16) == .verified)
    let checkpoint = try #require(bench.checkpoints.last)
    for position in [0, 7, 8, 20, 50, 80] {
      var wrong = checkpoint
      wrong[position] ^= 0x41
      bench.begin(verifier: verifier(file), checkpoint: wrong)
      #expect(bench.transfer(file, piece: 1 << 16) == .verified, "byte \(position)")
      #expect(bench.disk["a"] == bytes(1_200_000))
    }
    // There is less on flash than it says.
    bench.disk["a"] = bytes(1000)
    bench.begin(verifier: verifier(file), checkpoint: checkpoint)
    #expect(bench.transfer(file, piece: 1 << 16) == .verified)
  }
}
