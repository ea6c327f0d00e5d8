// The table of events: which rows are shown, in which order, and what keys change about that.

import ArgumentParser
import Foundation
import PlatformClient
import PlatformProtocol

/// The last event of each kind of each device.
struct EventTable {
  /// In which order rows are.
  enum Sorting: String, ExpressibleByArgument, CaseIterable {
    /// By device type, device and event: a row stays where it is.
    case name
    /// The latest first.
    case age
  }

  /// Rows that are kept; the one that has been silent longest goes first.
  static let rowsMax = 10_000
  /// The longest filter that is typed.
  private static let filterCharactersMax = 100

  private struct Key: Hashable {
    let device: DeviceKey
    let event: String
  }

  private struct Row {
    let count: Int
    let time: Date
    let values: String
    /// What a filter looks at.
    let searched: String
  }

  private(set) var sorting: Sorting
  private(set) var filter: String
  /// The filter while it is being typed; nil otherwise.
  private var typed: String?
  /// Whether somebody can press keys.
  var hasKeys = false
  /// The first row that is shown, and how many fit.
  private var first = 0
  private var room = 1
  private var rows: [Key: Row] = [:]

  init(sorting: Sorting = .name, filter: String = "") {
    self.sorting = sorting
    self.filter = filter
  }

  /// Takes over an event.
  mutating func add(_ device: DeviceKey, _ event: String, _ message: ApplicationMessage, at time: Date) {
    let key = Key(device: device, event: event)
    if rows[key] == nil, rows.count >= EventTable.rowsMax,
      let oldest = rows.min(by: { $0.value.time < $1.value.time })
    {
      rows[oldest.key] = nil
    }
    let count = (rows[key]?.count ?? 0) + 1
    let searched = searched(device, event, message)
    rows[key] = Row(count: count, time: time, values: values(of: message), searched: searched)
  }

  /// Whether an event passes the filter.
  func shows(_ device: DeviceKey, _ event: String, _ message: ApplicationMessage) -> Bool {
    filter.isEmpty || searched(device, event, message).contains(filter.lowercased())
  }

  private func values(of message: ApplicationMessage) -> String {
    message.isTruncated ? "(too large)" : summary(message)
  }

  private func searched(_ device: DeviceKey, _ event: String, _ message: ApplicationMessage) -> String {
    "\(device.typeID) \(device.deviceID) \(event) \(values(of: message))".lowercased()
  }

  /// Takes a key over: a blank and `b` turn the page, `s` sorts otherwise, `/` begins a filter, which a line end ends
  /// and Escape gives up. False for one that means nothing.
  mutating func take(_ key: UInt8) -> Bool {
    if let text = typed {
      switch key {
      case 0x0A, 0x0D: (filter, typed, first) = (text, nil, 0)
      case 0x1B: (filter, typed, first) = ("", nil, 0)
      case 0x08, 0x7F: typed = String(text.dropLast())
      case 0x20...0x7E where text.count < EventTable.filterCharactersMax:
        typed = text + String(UnicodeScalar(key))
      default: return false
      }
      return true
    }
    switch key {
    case UInt8(ascii: " "), UInt8(ascii: "n"): first += room
    case UInt8(ascii: "b"), UInt8(ascii: "p"): first -= room
    case UInt8(ascii: "s"): (sorting, first) = (sorting == .name ? .age : .name, 0)
    case UInt8(ascii: "/"): typed = ""
    default: return false
    }
    return true
  }

  /// The table, and a line about the connection and what is not shown, for a terminal of this size.
  mutating func lines(_ note: String, width: Int, height: Int, now: Date) -> [String] {
    let wanted = filter.lowercased()
    let all = rows.filter { wanted.isEmpty || $0.value.searched.contains(wanted) }.sorted { isBefore($0, $1) }
    room = max(1, height - 2)
    // The last page is a full one.
    first = max(0, min(first, all.count - room))
    let shown = all.dropFirst(first).prefix(room)
    let cells = shown.map { key, row in
      [
        printable(key.device.typeID), printable(key.device.deviceID), printable(key.event), "\(row.count)",
        age(now.timeIntervalSince(row.time)), row.values,
      ]
    }
    let head = [
      TableColumn("TYPE", rank: 3, widthMin: 4), TableColumn("ID"), TableColumn("EVENT", rank: 4, widthMin: 5),
      TableColumn("COUNT", rank: 5), TableColumn("AGE", rank: 2), TableColumn("VALUES", rank: 1, widthMin: 24),
    ]
    return table(head, cells, width: width) + [cut(state(note, shown, all.count), to: width)]
  }

  private func isBefore(_ left: (key: Key, value: Row), _ right: (key: Key, value: Row)) -> Bool {
    if sorting == .age, left.value.time != right.value.time { return left.value.time > right.value.time }
    let (a, b) = (left.key, right.key)
    return (a.device.typeID, a.device.deviceID, a.event) < (b.device.typeID, b.device.deviceID, b.event)
  }

  private func state(_ note: String, _ shown: ArraySlice<(key: Key, value: Row)>, _ count: Int) -> String {
    if let typed { return "filter: \(typed)_" }
    var parts: [String] = []
    if shown.count < count { parts.append("rows \(shown.startIndex + 1) to \(shown.endIndex) of \(count)") }
    if !filter.isEmpty { parts.append("filter '\(printable(filter))': \(count) of \(rows.count)") }
    if hasKeys {
      parts.append(shown.count < count ? "keys: blank b s /" : "keys: s /")
    } else if shown.count < count {
      parts.append("--filter shows others")
    }
    return (parts + [printable(note)]).joined(separator: ", ")
  }
}

/// The members of `d`, or whatever the payload is.
private func summary(_ message: ApplicationMessage) -> String {
  let json = message.json
  guard let members = (json?["d"] ?? json)?.members else { return payloadText(message.payload) }
  return members.map { member in
    "\(printable(member.name))=\(member.value.string.map(word) ?? safeJSON(member.value))"
  }.joined(separator: " ")
}

/// A length of time in its largest unit.
func age(_ seconds: Double) -> String {
  switch max(0, seconds) {
  case let seconds where seconds < 60: "\(Int(seconds))s"
  case let seconds where seconds < 3600: "\(Int(seconds / 60))m"
  case let seconds where seconds < 86_400: "\(Int(seconds / 3600))h"
  case let seconds: "\(Int(seconds / 86_400))d"
  }
}
