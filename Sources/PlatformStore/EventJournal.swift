// Last events, which change with every message: a row of their own would be a page of the disk for each. They are
// written one behind the other in batches, and the batches that are mostly out of date are written together anew.

import Foundation
import GRDB
import PlatformProtocol
import PlatformService

/// One change of a device's last events.
enum EventEntry {
  case put(DeviceKey, LastEvent)
  case remove(DeviceKey, eventID: String)
  case removeAll(DeviceKey)
}

/// The last events of all devices, as the batches have them one after the other.
struct EventTable {
  private(set) var devices: [DeviceKey: [LastEvent]] = [:]

  mutating func apply(_ entry: EventEntry) {
    switch entry {
    case .put(let key, let event):
      var events = devices[key] ?? []
      events.removeAll { $0.eventID == event.eventID }
      events.append(event)
      // As many as the service keeps: the event that has been silent for the longest time goes.
      if events.count > ServiceLimits.lastEventsMax,
        let oldest = events.indices.min(by: { events[$0].time < events[$1].time })
      {
        events.remove(at: oldest)
      }
      devices[key] = events
    case .remove(let key, let eventID): devices[key]?.removeAll { $0.eventID == eventID }
    case .removeAll(let key): devices[key] = nil
    }
  }

  var entries: [EventEntry] { devices.flatMap { key, events in events.map { .put(key, $0) } } }
}

/// Writes and reads the batches of one database.
struct EventJournal {
  let database: Database
  /// Bytes of batches that may be out of date in any case, and how many times what is up to date they may be.
  private static let slackMax = 4 << 20
  private static let slackFactor = 4
  /// Bytes of one batch, roughly.
  private static let batchBytesMax = 1 << 20

  /// Adds a batch. Now and then all are written anew.
  func append(_ entries: [EventEntry]) throws {
    guard !entries.isEmpty else { return }
    try write(entries)
    let bytes = try Int.fetchOne(database, sql: "SELECT sum(length(entries)) FROM eventBatch") ?? 0
    let live = try Int.fetchOne(database, sql: "SELECT live FROM eventBatchSize") ?? 0
    guard bytes > EventJournal.slackMax + EventJournal.slackFactor * live else { return }
    let table = try load()
    try database.execute(sql: "DELETE FROM eventBatch")
    try write(table.entries)
    let now = try Int.fetchOne(database, sql: "SELECT sum(length(entries)) FROM eventBatch") ?? 0
    try database.execute(sql: "UPDATE eventBatchSize SET live = ?", arguments: [now])
  }

  private func write(_ entries: [EventEntry]) throws {
    var bytes: [UInt8] = []
    for entry in entries {
      EventCoding.append(entry, to: &bytes)
      if bytes.count >= EventJournal.batchBytesMax {
        try insert(bytes)
        bytes.removeAll(keepingCapacity: true)
      }
    }
    if !bytes.isEmpty { try insert(bytes) }
  }

  private func insert(_ bytes: [UInt8]) throws {
    try database.cachedStatement(sql: "INSERT INTO eventBatch (entries) VALUES (?)").execute(arguments: [Data(bytes)])
  }

  /// What all batches come to.
  ///
  /// - Throws: `StoreError` for a batch that is none.
  func load() throws -> EventTable {
    var table = EventTable()
    let cursor = try Row.fetchCursor(database, sql: "SELECT number, entries FROM eventBatch ORDER BY number")
    while let row = try cursor.next() {
      guard let data = Data.fromDatabaseValue(row["entries"]), let entries = EventCoding.entries(Array(data)) else {
        throw StoreError(description: "the database is damaged: table eventBatch, row number=\(row["number"] ?? 0)")
      }
      for entry in entries { table.apply(entry) }
    }
    return table
  }
}

/// An entry in bytes: its kind, its texts behind their lengths, its time, its payload behind its length.
private enum EventCoding {
  static func append(_ entry: EventEntry, to bytes: inout [UInt8]) {
    switch entry {
    case .put(let key, let event):
      bytes.append(1)
      for text in [key.typeID, key.deviceID, event.eventID, event.format] { append(Array(text.utf8), to: &bytes) }
      append(UInt64(bitPattern: event.time), to: &bytes)
      append(event.payload, to: &bytes)
    case .remove(let key, let eventID):
      bytes.append(2)
      for text in [key.typeID, key.deviceID, eventID] { append(Array(text.utf8), to: &bytes) }
    case .removeAll(let key):
      bytes.append(3)
      for text in [key.typeID, key.deviceID] { append(Array(text.utf8), to: &bytes) }
    }
  }

  private static func append(_ part: [UInt8], to bytes: inout [UInt8]) {
    append(UInt32(part.count), to: &bytes)
    bytes.append(contentsOf: part)
  }

  private static func append(_ value: some FixedWidthInteger, to bytes: inout [UInt8]) {
    for shift in stride(from: 0, to: value.bitWidth, by: 8) { bytes.append(UInt8(truncatingIfNeeded: value >> shift)) }
  }

  /// The entries of a batch; nil where it is none.
  static func entries(_ bytes: [UInt8]) -> [EventEntry]? {
    var rest = bytes[...]
    var entries: [EventEntry] = []
    while let kind = rest.popFirst() {
      guard let typeID = text(&rest), let deviceID = text(&rest) else { return nil }
      let key = DeviceKey(typeID: typeID, deviceID: deviceID)
      switch kind {
      case 1:
        guard let eventID = text(&rest), let format = text(&rest), let time = integer(&rest, of: UInt64.self),
          let payload = part(&rest)
        else { return nil }
        let event = LastEvent(
          eventID: eventID, format: format, payload: Array(payload), time: Int64(bitPattern: time))
        entries.append(.put(key, event))
      case 2:
        guard let eventID = text(&rest) else { return nil }
        entries.append(.remove(key, eventID: eventID))
      case 3: entries.append(.removeAll(key))
      default: return nil
      }
    }
    return entries
  }

  private static func text(_ rest: inout ArraySlice<UInt8>) -> String? {
    part(&rest).flatMap { String(validating: $0, as: UTF8.self) }
  }

  private static func part(_ rest: inout ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
    guard let count = integer(&rest, of: UInt32.self), count <= rest.count else { return nil }
    defer { rest.removeFirst(Int(count)) }
    return rest.prefix(Int(count))
  }

  private static func integer<Value: FixedWidthInteger>(_ rest: inout ArraySlice<UInt8>, of: Value.Type) -> Value? {
    let count = Value.bitWidth / 8
    guard rest.count >= count else { return nil }
    defer { rest.removeFirst(count) }
    return rest.prefix(count).reversed().reduce(0) { $0 << 8 | Value($1) }
  }
}
