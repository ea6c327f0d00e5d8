// Images, slots and installers of a scripted host: all is in memory, and done at once unless a test says otherwise.

import Bytes
import Firmware
import HostInterface
import Simulator

/// What a scripted host has of firmware.
struct ScriptedFirmware {
  var images: [FirmwarePlace: [UInt8]] = [:]
  var slotCopies: [[UInt8]] = [[], []]
  var running: FirmwarePlace?
  var isSupervised = true
  /// What the next operations upon images and slots answer; done behind them.
  var answers: [StorageAnswer] = []
  var installerStart = true
  var installerState = ProgramState.running
  var installerOutput = ""
  /// The versions that an installer was started for.
  var installs: [String] = []
  var installerStops = 0
  var ends: [SupervisedEnd] = []
  fileprivate var prepared = FirmwarePlace.file

  /// What the slot record says.
  var slots: SlotRecord? {
    get {
      let copies = slotCopies.flatMap { $0 + [UInt8](repeating: 0, count: 256 - $0.count) }
      return SlotRecord.newest(of: copies.span)?.record
    }
    set {
      guard let newValue else { return slotCopies = [[], []] }
      let bytes = newValue.bytes
      slotCopies = [(0..<256).map { bytes[$0] }, []]
    }
  }

  fileprivate mutating func answer() -> StorageAnswer { answers.isEmpty ? .done : answers.removeFirst() }
}

extension ScriptedHost: HostFirmware {
  func add(_ bytes: Span<UInt8>, to hash: inout RunningHash) { hash.addForStandIn(bytes) }
  func digest(of rest: Span<UInt8>, behind hash: RunningHash) -> InlineArray<32, UInt8> { hash.standIn(behind: rest) }

  var trustedKeyCount: Int { 1 }
  func isSigned(_ digest: InlineArray<32, UInt8>, byKey identifier: UInt32, _ signature: Span<UInt8>) -> Bool { true }

  mutating func prepareImage(
    _ place: FirmwarePlace, header: Span<UInt8>, byteCount: UInt64, from offset: UInt64
  ) -> StorageAnswer {
    let answer = firmware.answer()
    guard answer == .done else { return answer }
    firmware.prepared = place
    guard let image = firmware.images[place], image.count >= Int(offset) else {
      guard offset == 0 else { return .damaged }
      firmware.images[place] = []
      return .done
    }
    firmware.images[place] = Array(image.prefix(Int(offset)))
    return .done
  }

  mutating func writeImage(at offset: UInt64, _ bytes: Span<UInt8>) -> StorageAnswer {
    let answer = firmware.answer()
    if answer == .done { firmware.images[firmware.prepared, default: []] += Array(bytes) }
    return answer
  }

  mutating func flushImage() -> StorageAnswer { firmware.answer() }
  mutating func finishImage(byteCount: UInt64) -> StorageAnswer { firmware.answer() }

  mutating func readBackImage(
    _ place: FirmwarePlace, byteCount: UInt64, _ digest: inout InlineArray<32, UInt8>
  ) -> StorageAnswer {
    let answer = firmware.answer()
    guard answer == .done else { return answer }
    guard let image = firmware.images[place], image.count == Int(byteCount) else { return .damaged }
    digest = self.digest(of: image.span, behind: RunningHash())
    return .done
  }

  mutating func discardImage(_ place: FirmwarePlace) -> StorageAnswer {
    let answer = firmware.answer()
    if answer == .done { firmware.images[place] = nil }
    return answer
  }

  func runningSlot() -> FirmwarePlace? { firmware.running }
  func isSupervised() -> Bool { firmware.isSupervised }
  func firmwareObstacle() -> FirmwareObstacle? { firmware.isSupervised ? nil : .notSupervised }

  mutating func readSlotRecord(into buffer: inout ByteBuffer) -> StorageAnswer {
    guard firmware.slotCopies != [[], []] else { return .notFound }
    for copy in firmware.slotCopies {
      let bytes = copy + [UInt8](repeating: 0, count: 256 - copy.count)
      buffer.append(bytes.span)
    }
    return .done
  }

  mutating func replaceSlotRecord(copy index: Int, _ content: Span<UInt8>) -> StorageAnswer {
    let answer = firmware.answer()
    if answer == .done { firmware.slotCopies[index] = Array(content) }
    return answer
  }

  mutating func startInstaller(_ task: InstallerTask, _ place: FirmwarePlace, version: Span<UInt8>) -> Bool {
    if firmware.installerStart { firmware.installs.append(Array(version).text) }
    return firmware.installerStart
  }

  mutating func pollInstaller(output: inout ByteBuffer) -> ProgramState {
    output.append(Array(firmware.installerOutput.utf8).span)
    return firmware.installerState
  }

  mutating func stopInstaller() {
    firmware.installerStops += 1
    firmware.installerState = .signalled(9)
  }

  mutating func endForSupervisor(_ end: SupervisedEnd) { firmware.ends.append(end) }
}
