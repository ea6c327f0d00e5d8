// How far each device of a firmware push is: bars in a terminal, lines in a pipe.

import Foundation
import PlatformClient
import PlatformProtocol
import PlatformService

/// What a device of a push is at.
enum PushState: String, Sendable {
  case waiting, downloading, downloaded, installing, installed, failed
}

/// One device's row.
struct PushRow: Sendable {
  let device: DeviceKey
  var state = PushState.waiting
  var byteCount: Int64 = 0
  var message = ""

  /// The row as a bar of so many columns in all.
  func bar(of byteTotal: Int64, nameWidth: Int, width: Int) -> String {
    let share =
      switch state {
      case .waiting: 0.0
      case .downloading, .failed: Double(byteCount) / Double(max(byteTotal, 1))
      case .downloaded, .installing, .installed: 1.0
      }
    let barWidth = max(5, min(30, width - nameWidth - 40))
    let filled = min(barWidth, Int(share * Double(barWidth)))
    let bar = String(repeating: "█", count: filled) + String(repeating: "░", count: barWidth - filled)
    var text = state.rawValue
    if state == .downloading { text += " \(size(byteCount)) of \(size(byteTotal))" }
    if !message.isEmpty, state != .downloading, state != .installed { text += ": \(printable(message))" }
    let percent = fitted("\(Int(share * 100))%", to: 4)
    return cut("\(fitted(printable(device.deviceID), to: nameWidth)) \(bar) \(percent) \(text)", to: width)
  }
}

/// A number of bytes in its largest unit.
func size(_ byteCount: Int64) -> String {
  switch byteCount {
  case ..<1000: "\(byteCount) B"
  case ..<1_000_000: "\(byteCount / 1000) kB"
  case let count: "\(count / 1_000_000).\(count / 100_000 % 10) MB"
  }
}

/// All rows, and their drawing.
actor PushBoard {
  enum Style { case bars, lines, json }

  /// How often bars are drawn, at most.
  private static let drawInterval = Duration.milliseconds(200)

  private let style: Style
  private let image: FirmwareImage
  private let finalState: PushState
  private var rows: [PushRow]
  private var index: [DeviceKey: Int] = [:]
  private var region = LiveRegion()

  init(_ devices: [DeviceKey], _ image: FirmwareImage, style: Style, finalState: PushState) {
    self.style = style
    self.image = image
    self.finalState = finalState
    rows = devices.map { PushRow(device: $0) }
    for (number, device) in devices.enumerated() { index[device] = number }
  }

  /// Whether all devices have what they were to get.
  var isSuccess: Bool { rows.allSatisfy { $0.state == finalState } }

  /// A device is at something else now.
  func set(_ device: DeviceKey, _ state: PushState, _ message: String = "") throws {
    guard let number = index[device] else { return }
    rows[number].state = state
    rows[number].message = message
    try tell(rows[number])
  }

  /// The platform has something to say about a device.
  func note(_ device: DeviceKey, _ message: String) {
    guard let number = index[device] else { return }
    rows[number].message = message
  }

  /// A device has fetched so many bytes of the image.
  func downloaded(_ device: DeviceKey, _ byteCount: Int64) throws {
    guard let number = index[device], byteCount > rows[number].byteCount else { return }
    // In a pipe, a line for each quarter.
    let before = rows[number].byteCount * 4 / max(image.byteCount, 1)
    rows[number].byteCount = byteCount
    if byteCount * 4 / max(image.byteCount, 1) > before, rows[number].state == .downloading { try tell(rows[number]) }
  }

  private func tell(_ row: PushRow) throws {
    switch style {
    case .bars: break
    case .lines:
      var line = "\(timestamp()) \(row.device.typeID) \(row.device.deviceID) \(row.state.rawValue)"
      if row.state == .downloading { line += " \(row.byteCount * 100 / max(image.byteCount, 1))%" }
      if row.state == .installed { line += " \(printable(image.version))" }
      try emit(line + (row.message.isEmpty ? "" : ": \(printable(row.message))"))
    case .json:
      try emit(
        .members([
          "time": .string(timestamp()), "typeId": .string(row.device.typeID),
          "deviceId": .string(row.device.deviceID), "state": .string(row.state.rawValue),
          "version": .string(image.version), "bytes": .integer(row.byteCount), "size": .integer(image.byteCount),
          "message": row.message.isEmpty ? nil : .string(row.message),
        ]))
    }
  }

  /// Draws bars until the task is cancelled.
  func drawRepeatedly() async throws {
    while style == .bars, !Task.isCancelled {
      try draw()
      try? await Task.sleep(for: PushBoard.drawInterval)
    }
  }

  private func draw() throws {
    let terminal = terminalSize()
    // Where not all fit, those that something happens to.
    let room = max(1, terminal.height - 2)
    let isBusy = { (row: PushRow) in row.state == .downloading || row.state == .installing || row.state == .failed }
    let shown = rows.count <= room ? rows : Array((rows.filter(isBusy) + rows.filter { !isBusy($0) }).prefix(room))
    let nameWidth = shown.map { columns(printable($0.device.deviceID)) }.max() ?? 0
    try region.draw(
      shown.map { $0.bar(of: image.byteCount, nameWidth: nameWidth, width: terminal.width) }
        + [cut(summary, to: terminal.width)])
  }

  /// Draws or prints what it has come to.
  func finish() throws {
    switch style {
    case .bars: try draw()
    case .lines: try emit(summary)
    case .json: break
    }
  }

  private var summary: String {
    let done = rows.count { $0.state == finalState }
    let failed = rows.count { $0.state == .failed }
    return "\(printable(image.name)) \(printable(image.version)): \(done) \(finalState.rawValue), \(failed) failed, "
      + "\(rows.count - done - failed) to go"
  }
}
