// Rows become what the service takes over at start.

import Foundation
import GRDB
import PlatformProtocol
import PlatformService

/// Reads all that is kept.
struct StateReader {
  let database: Database
  private let decoder = JSONDecoder()

  init(database: Database) { self.database = database }

  func state() throws -> StoredState {
    var state = StoredState()
    state.types = try records("type", key: "id")
    state.keys = try records("apiKey", key: "key")
    state.sessions = try records("session", key: "number")
    for row in try rows("bundle", "id, record") {
      guard let bundle = JSONValue(text: try row.text("record")) else { throw row.damage("'record' is not JSON") }
      state.bundles[try row.text("id")] = bundle
    }
    state.devices = try devices()
    for (key, events) in try EventJournal(database: database).load().devices {
      for event in events { state.lastEvents.append((key, event)) }
    }
    for row in try rows("usage", "day, byteCount") { state.usage[try row.text("day")] = try row.value("byteCount") }
    state.messages = try messages()
    for row in try rows("identifier", "session, identifier") {
      state.identifiers.append((try row.value("session"), try row.value("identifier")))
    }
    state.requests = try requests()
    return state
  }

  private func devices() throws -> [DeviceRecord] {
    try rows("device", "typeID, deviceID, record, connection").map { row in
      var record: DeviceRecord = try decode(row, "record")
      if try row.value("connection") as String? != nil { record.connection = try decode(row, "connection") }
      return record
    }
  }

  /// Last events as the first version kept them.
  func oldLastEvents() throws -> [EventEntry] {
    try rows("lastEvent", "typeID, deviceID, eventID, format, payload, time").map { row in
      let payload: Data = try row.value("payload")
      return .put(
        DeviceKey(typeID: try row.text("typeID"), deviceID: try row.text("deviceID")),
        LastEvent(
          eventID: try row.text("eventID"), format: try row.text("format"), payload: Array(payload),
          time: try row.value("time"))
      )
    }
  }

  private func messages() throws -> [MessageRecord] {
    let columns = "session, sequence, topic, payload, qos, isReleased"
    return try rows("message", columns, order: "session, sequence").map { row in
      let topic: Data = try row.value("topic")
      let payload: Data = try row.value("payload")
      return MessageRecord(
        session: try row.value("session"), sequence: try row.value("sequence"), topic: Array(topic),
        payload: Array(payload), qos: try row.value("qos"), isReleased: try row.value("isReleased"))
    }
  }

  private func requests() throws -> [ManagementRequest] {
    var progress: [String: [DeviceProgress]] = [:]
    for row in try rows("progress", "request, typeID, deviceID, record", order: "request, place") {
      progress[try row.text("request"), default: []].append(try decode(row, "record"))
    }
    return try (records("request", key: "id") as [ManagementRequest]).map { header in
      var request = header
      request.devices = progress[header.id] ?? []
      return request
    }
  }

  private func records<Record: Decodable>(_ table: String, key: String) throws -> [Record] {
    try rows(table, "\(key), record", order: key).map { try decode($0, "record") }
  }

  private func rows(_ table: String, _ columns: String, order: String? = nil) throws -> [StoredRow] {
    let sql = "SELECT \(columns) FROM \(table)" + (order.map { " ORDER BY \($0)" } ?? "")
    return try Row.fetchAll(database, sql: sql).map { StoredRow(table: table, row: $0) }
  }

  private func decode<Record: Decodable>(_ row: StoredRow, _ column: String) throws -> Record {
    let text = try row.text(column)
    do {
      return try decoder.decode(Record.self, from: Data(text.utf8))
    } catch {
      throw row.damage("'\(column)' is no record of this version: \(error)")
    }
  }
}

/// A row that may hold anything: whoever can write the file can write that.
private struct StoredRow {
  let table: String
  let row: Row

  func text(_ column: String) throws(StoreError) -> String { try value(column) }

  func value<Value: DatabaseValueConvertible>(_ column: String) throws(StoreError) -> Value {
    guard let value = Value.fromDatabaseValue(row[column]) else { throw damage("'\(column)' is of another kind") }
    return value
  }

  /// An error that names the row, by its columns that are short and no records.
  func damage(_ reason: String) -> StoreError {
    let names = row.filter { !["record", "connection", "payload", "topic"].contains($0.0) }
      .map { "\($0.0)=\($0.1)" }.joined(separator: " ")
    return StoreError(description: "the database is damaged: table \(table), row \(names): \(reason)")
  }
}
