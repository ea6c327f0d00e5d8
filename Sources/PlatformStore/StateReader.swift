// Rows become what the service takes over at start.

import Foundation
import GRDB
import PlatformService

/// Reads all that is kept.
struct StateReader {
  let database: Database
  private let decoder = JSONDecoder()

  init(database: Database) { self.database = database }

  func state() throws -> StoredState {
    var state = StoredState()
    state.types = try records("SELECT record FROM type")
    state.keys = try records("SELECT record FROM apiKey")
    state.sessions = try records("SELECT record FROM session ORDER BY number")
    for row in try Row.fetchAll(database, sql: "SELECT id, record FROM bundle") {
      state.bundles[row["id"]] = JSONValue(text: row["record"])
    }
    state.devices = try devices()
    state.lastEvents = try lastEvents()
    state.messages = try messages()
    for row in try Row.fetchAll(database, sql: "SELECT session, identifier FROM identifier") {
      state.identifiers.append((row["session"], row["identifier"]))
    }
    state.requests = try requests()
    return state
  }

  private func devices() throws -> [DeviceRecord] {
    try Row.fetchAll(database, sql: "SELECT record, connection FROM device").map { row in
      var record: DeviceRecord = try decode(row["record"])
      if let text = row["connection"] as String? { record.connection = try decode(text) }
      return record
    }
  }

  private func lastEvents() throws -> [(DeviceKey, LastEvent)] {
    let sql = "SELECT typeID, deviceID, eventID, format, payload, time FROM lastEvent"
    return try Row.fetchAll(database, sql: sql).map { row in
      let payload: Data = row["payload"]
      return (
        DeviceKey(typeID: row["typeID"], deviceID: row["deviceID"]),
        LastEvent(eventID: row["eventID"], format: row["format"], payload: Array(payload), time: row["time"])
      )
    }
  }

  private func messages() throws -> [MessageRecord] {
    let sql = "SELECT session, sequence, topic, payload, qos, isReleased FROM message ORDER BY session, sequence"
    return try Row.fetchAll(database, sql: sql).map { row in
      let topic: Data = row["topic"]
      let payload: Data = row["payload"]
      return MessageRecord(
        session: row["session"], sequence: row["sequence"], topic: Array(topic), payload: Array(payload),
        qos: row["qos"], isReleased: row["isReleased"])
    }
  }

  private func requests() throws -> [ManagementRequest] {
    var progress: [String: [DeviceProgress]] = [:]
    for row in try Row.fetchAll(database, sql: "SELECT request, record FROM progress ORDER BY request, place") {
      progress[row["request"], default: []].append(try decode(row["record"]))
    }
    return try (records("SELECT record FROM request") as [ManagementRequest]).map { header in
      var request = header
      request.devices = progress[header.id] ?? []
      return request
    }
  }

  private func records<Record: Decodable>(_ sql: String) throws -> [Record] {
    try String.fetchAll(database, sql: sql).map { try decode($0) }
  }

  private func decode<Record: Decodable>(_ text: String) throws -> Record {
    try decoder.decode(Record.self, from: Data(text.utf8))
  }
}
