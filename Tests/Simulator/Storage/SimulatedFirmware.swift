// Images, slots and installers on a simulated disk: what `HostFirmware` promises, and all that a power cut may do.
//
// A simulated host hands its calls on to one of these. The disk outlives it, as it does `SimulatedStorage`, whose disk
// it may be: then calls of both are counted together, and a cut falls into any of them. An operation is done when it is
// first asked for, and answered when it is asked for again, after `delay` where there is a world.

import Bytes
import HostInterface
import Storage
import TestSupport

/// A machine's part of firmware.
public final class SimulatedFirmware: HostFirmware {
  /// The disk.
  public let disk: SimulatedDisk
  /// Whose program runs; nil for the packaged one.
  public var running: FirmwarePlace?
  /// Whether there is a supervisor.
  public var hasSupervisor = true
  /// The identifiers of the trusted keys.
  public var keys: [UInt32] = [1]
  /// How the installer's program ends; nil while it runs.
  public var installerEnd: ProgramState?
  /// What it writes.
  public var installerOutput: [UInt8] = []
  /// Whether it can be started.
  public var canInstall = true
  /// The versions that an installer was started for.
  public private(set) var installed: [String] = []
  /// Whether the installer was to be killed.
  public private(set) var isInstallerStopped = false
  /// Why the program ended for its supervisor.
  public private(set) var end: SupervisedEnd?
  /// The process that writes is gone: the next so many operations fail, and what was prepared is forgotten.
  public var failures = 0

  private let world: World?
  private let delay: ClosedRange<Int>
  private var dice: Dice
  private var image: OpenImage?
  private var operation = ""
  private var answer: StorageAnswer?
  private var reply: [UInt8] = []

  /// With `world`, operations take a time of `delay`, in milliseconds, and wake the loop when they have ended.
  public init(disk: SimulatedDisk, world: World? = nil, delay: ClosedRange<Int> = 0...500) {
    self.disk = disk
    self.world = world
    self.delay = delay
    dice = Dice(seed: world?.seed ?? 1, colour: 13)
  }

  private func ask(_ name: String, _ perform: (inout SimulatedDisk) -> StorageAnswer) -> StorageAnswer {
    if operation == name {
      guard let answer else { return .pending }
      operation = ""
      return answer
    }
    operation = name
    var disk = disk
    reply = []
    let result: StorageAnswer
    if failures > 0 {
      failures -= 1
      image = nil
      result = .failed
    } else {
      result = perform(&disk)
    }
    // Without power there is nobody to answer.
    guard !self.disk.isOff else {
      answer = nil
      return .pending
    }
    guard let world else {
      answer = result
      return .pending
    }
    answer = nil
    world.after(dice.spanOfAnyMagnitude(delay)) { [self] in
      guard operation == name else { return }
      answer = result
      world.hasNews = true
    }
    return .pending
  }

  private func withBuffer<Result>(_ capacity: Int, _ body: (inout ByteBuffer) -> Result) -> Result? {
    withArena(byteCount: capacity + 16) { arena in
      guard var buffer = try? ByteBuffer(capacity: capacity, for: "reply", from: &arena) else { return nil }
      return body(&buffer)
    }
  }

  // MARK: Checks

  /// As `HostFirmware` says.
  public func add(_ bytes: Span<UInt8>, to hash: inout RunningHash) { SimulatedHash.add(Array(bytes), to: &hash) }

  /// As `HostFirmware` says.
  public func digest(of rest: Span<UInt8>, behind hash: RunningHash) -> InlineArray<32, UInt8> {
    let digest = SimulatedHash.digest(of: Array(rest), behind: hash)
    return InlineArray<32, UInt8> { digest[$0] }
  }

  /// As `HostFirmware` says.
  public var trustedKeyCount: Int { keys.count }

  /// A signature here is SHA-256 of the key's identifier and the digest.
  public static func signature(_ digest: [UInt8], byKey identifier: UInt32) -> [UInt8] {
    SimulatedHash.digest(of: (0..<4).map { UInt8(truncatingIfNeeded: identifier >> UInt32(24 - 8 * $0)) } + digest)
  }

  /// As `HostFirmware` says.
  public func isSigned(
    _ digest: InlineArray<32, UInt8>, byKey identifier: UInt32, _ signature: Span<UInt8>
  ) -> Bool {
    let digest = (0..<32).map { digest[$0] }
    return keys.contains(identifier)
      && SimulatedFirmware.signature(digest, byKey: identifier) == Array(signature)
  }

  /// Why there can be no firmware.
  public var obstacle: FirmwareObstacle?

  /// As `HostFirmware` says.
  public func firmwareObstacle() -> FirmwareObstacle? { obstacle }

  // MARK: Images

  /// As `HostFirmware` says.
  public func prepareImage(
    _ place: FirmwarePlace, header: Span<UInt8>, byteCount: UInt64, from offset: UInt64
  ) -> StorageAnswer {
    guard place == .file || place != running else { return .readOnly }
    let header = Array(header)
    return ask("prepare \(place) \(offset)") { disk in
      Storage.prepareImage(place, header: header.span, byteCount: byteCount, from: offset, &image, on: &disk)
    }
  }

  /// As `HostFirmware` says.
  public func writeImage(at offset: UInt64, _ bytes: Span<UInt8>) -> StorageAnswer {
    precondition(!bytes.isEmpty && bytes.count <= FirmwareLimits.writeBytesMax)
    let bytes = Array(bytes)
    return ask("write \(offset)") { disk in image?.write(at: offset, bytes.span, on: &disk) ?? .failed }
  }

  /// As `HostFirmware` says.
  public func flushImage() -> StorageAnswer { ask("flush") { disk in image?.flush(on: &disk) ?? .failed } }

  /// As `HostFirmware` says.
  public func finishImage(byteCount: UInt64) -> StorageAnswer {
    ask("finish \(byteCount)") { disk in
      let answer = image?.finish(byteCount: byteCount, on: &disk) ?? .failed
      image = nil
      return answer
    }
  }

  /// As `HostFirmware` says.
  public func readBackImage(
    _ place: FirmwarePlace, byteCount: UInt64, _ digest: inout InlineArray<32, UInt8>
  ) -> StorageAnswer {
    let answer = ask("read back \(place) \(byteCount)") { disk in
      var content: [UInt8] = []
      let answer = withBuffer(65_536) { buffer in
        Storage.readImage(place, byteCount: byteCount, through: &buffer, on: &disk) { content += Array($0) }
      }
      self.reply = SimulatedHash.digest(of: content)
      return answer ?? .failed
    }
    let reply = reply
    if answer == .done { digest = InlineArray<32, UInt8> { reply[$0] } }
    return answer
  }

  /// As `HostFirmware` says.
  public func discardImage(_ place: FirmwarePlace) -> StorageAnswer {
    guard place == .file || place != running else { return .readOnly }
    return ask("discard \(place)") { disk in Storage.discardImage(place, &image, on: &disk) }
  }

  // MARK: Slots

  /// As `HostFirmware` says.
  public func runningSlot() -> FirmwarePlace? { running }

  /// As `HostFirmware` says.
  public func isSupervised() -> Bool { hasSupervisor }

  /// As `HostFirmware` says.
  public func readSlotRecord(into buffer: inout ByteBuffer) -> StorageAnswer {
    let answer = ask("read slots") { disk in
      let answer = withBuffer(2 * FirmwareLimits.slotRecordBytes) { buffer in
        let answer = Storage.readSlotRecord(into: &buffer, on: &disk)
        self.reply = Array(buffer.span)
        return answer
      }
      return answer ?? .failed
    }
    let reply = reply
    if answer == .done { buffer.append(reply.span) }
    return answer
  }

  /// As `HostFirmware` says.
  public func replaceSlotRecord(copy index: Int, _ content: Span<UInt8>) -> StorageAnswer {
    let content = Array(content)
    return ask("replace slots \(index) \(content)") { disk in
      let answer = withBuffer(FirmwareLimits.slotRecordBytes) { buffer in
        Storage.replaceSlotRecord(copy: index, content.span, through: &buffer, on: &disk)
      }
      return answer ?? .failed
    }
  }

  // MARK: Installing

  /// As `HostFirmware` says.
  public func startInstaller(_ task: InstallerTask, _ place: FirmwarePlace, version: Span<UInt8>) -> Bool {
    guard canInstall else { return false }
    isInstallerStopped = false
    installed.append(Array(version).text)
    return true
  }

  /// As `HostFirmware` says.
  public func pollInstaller(output: inout ByteBuffer) -> ProgramState {
    let written = installerOutput
    let piece = Array(written.prefix(output.freeCount))
    output.append(piece.span)
    installerOutput = []
    return isInstallerStopped ? .signalled(9) : installerEnd ?? .running
  }

  /// As `HostFirmware` says.
  public func stopInstaller() { isInstallerStopped = true }

  /// As `HostFirmware` says.
  public func endForSupervisor(_ end: SupervisedEnd) { self.end = end }
}

/// Bundles for tests, as BUNDLE.md has them, with signatures that `SimulatedFirmware` takes.
public struct SimulatedBundle {
  /// As the header has it: 1 agent, 2 slot, 3 file.
  public var kind: UInt8 = 1
  /// What is in it.
  public var image: [UInt8] = []
  /// Its version.
  public var version = "1.5.0"
  /// What it is for.
  public var compatible = "acme-e7"
  /// Its security version.
  public var securityVersion: UInt32 = 0
  /// ELF's number.
  public var machine: UInt16 = 0
  /// Blocks of 2 to the power of it.
  public var exponent: UInt8 = 12
  /// The keys that have signed it.
  public var keys: [UInt32] = [1]

  /// The smallest one.
  public init() {}

  private func number(_ value: UInt64, _ byteCount: Int) -> [UInt8] {
    (0..<byteCount).map { UInt8(truncatingIfNeeded: value >> UInt64(8 * (byteCount - 1 - $0))) }
  }

  private func padded(_ text: String, _ byteCount: Int) -> [UInt8] {
    Array(text.utf8) + [UInt8](repeating: 0, count: byteCount - text.utf8.count)
  }

  /// The whole file.
  public var bytes: [UInt8] {
    let dataByteCount = 1 << Int(exponent) - 32
    var blocks: [[UInt8]] = []
    for start in stride(from: 0, to: image.count, by: dataByteCount) {
      blocks.append(Array(image[start..<min(start + dataByteCount, image.count)]))
    }
    for index in blocks.indices.dropLast().reversed() { blocks[index] += SimulatedHash.digest(of: blocks[index + 1]) }
    let stored = blocks.reduce(0) { $0 + $1.count }
    var header: [UInt8] = [
      0x89, 0x4D, 0x4F, 0x54, 0x45, 0x0D, 0x0A, 0x1A, 0, 1, 2, 0, 0, 0, 0, 0, kind, 0, 1, exponent,
    ]
    header += number(UInt64(securityVersion), 4) + number(UInt64(stored), 8) + number(UInt64(image.count), 8)
    header += number(1_790_000_000, 8) + padded(compatible, 64) + padded(version, 32)
    header += number(UInt64(machine), 2) + [0, 0]
    header += SimulatedHash.digest(of: image) + SimulatedHash.digest(of: blocks.first ?? [])
    header += [UInt8](repeating: 0, count: 352 - header.count)
    let digest = SimulatedHash.digest(of: header)
    for key in keys {
      let signature = SimulatedFirmware.signature(digest, byKey: key)
      header += number(UInt64(key), 4) + [1, UInt8(signature.count)] + signature
      header += [UInt8](repeating: 0, count: 74 - signature.count)
    }
    header += [UInt8](repeating: 0, count: 512 - header.count)
    return header + blocks.flatMap { $0 }
  }
}
