// The database gives back what was put into it.

import Bytes
import Foundation
import GRDB
import PlatformProtocol
import Testing

@testable import PlatformService
@testable import PlatformStore

@Suite struct StoreTests {
  private func inFolder(_ body: (String) throws -> Void) throws {
    let folder = FileManager.default.temporaryDirectory.path + "/store-" + UUID().uuidString
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    try body(folder)
  }

  /// Commits in one run of the program, and loads in the next.
  private func kept(_ operations: [[StoreOperation]]) throws -> StoredState {
    var state = StoredState()
    try inFolder { folder in
      do {
        let store = try PlatformStore(folder: folder)
        for group in operations { try store.commit(group) }
      }
      state = try PlatformStore(folder: folder).load()
    }
    return state
  }

  private var device: DeviceRecord {
    var device = DeviceRecord(typeID: "edge", deviceID: "e1", registered: 17)
    device.tokenHash = "$6$hash"
    device.deviceInfo.fwVersion = "1.2"
    device.metadata = JSONValue(text: #"{"a":[1,"ü"]}"#)
    return device
  }

  @Test func keepsRegistrations() throws {
    var changed = device
    changed.deviceInfo.fwVersion = "1.3"
    let key = DeviceKey(typeID: "edge", deviceID: "e1")
    let status = ConnectionStatus(
      isConnected: true, time: 5, address: "192.0.2.1", isSecure: false, protocolName: "mqtt4", closeCode: 91,
      connectTime: 4)
    let state = try kept([
      [.putType(DeviceTypeRecord(id: "edge")), .putType(DeviceTypeRecord(id: "gone")), .putDevice(device)],
      [.putConnection(key, status), .putDevice(changed), .removeType("gone")],
      [.putKey(APIKeyRecord(key: "a-local0-k", tokenHash: "h", comment: "", created: 1))],
      [.putBundle(id: "tools", JSONValue(text: #"{"version":"1.0"}"#) ?? .null)],
      [.putLastEvent(key, LastEvent(eventID: "s", format: "json", payload: [0, 255, 10], time: 9))],
    ])
    #expect(state.types.map(\.id) == ["edge"])
    changed.connection = status
    #expect(state.devices == [changed])
    #expect(state.keys.map(\.key) == ["a-local0-k"])
    #expect(state.bundles["tools"]?["version"]?.string == "1.0")
    #expect(state.lastEvents.map(\.1.payload) == [[0, 255, 10]])
    #expect(try kept([[.putDevice(device), .removeDevice(key)]]).devices.isEmpty)
    let events = ["a", "b"].map { LastEvent(eventID: $0, format: "json", payload: [], time: 9) }
    let rest = try kept([events.map { .putLastEvent(key, $0) }, [.removeLastEvent(key, eventID: "a")]])
    #expect(rest.lastEvents.map(\.1.eventID) == ["b"])
  }

  @Test func keepsSessions() throws {
    let session = SessionRecord(
      clientID: "d:local0:edge:e1", number: 3, subscriptions: [SubscriptionRecord(filter: "iotdm-1/#", qos: 1)])
    let messages = (1...3).map {
      MessageRecord(
        session: 3, sequence: Int64($0), topic: [1, 2], payload: [0, 255], qos: 2, isReleased: false)
    }
    let other = SessionRecord(clientID: "a:local0:x", number: 4, subscriptions: [])
    let state = try kept([
      [.putSession(session), .putSession(other)],
      messages.map { .putMessage($0) } + [.putIdentifier(session: 3, 9), .putIdentifier(session: 4, 9)],
      [.putMessage(MessageRecord(session: 4, sequence: 1, topic: [], payload: [], qos: 1, isReleased: false))],
      [.releaseMessage(session: 3, sequence: 2), .removeMessage(session: 3, sequence: 1)],
      [.putIdentifier(session: 3, 10), .removeIdentifier(session: 3, 9), .removeSession(number: 4)],
    ])
    #expect(state.sessions == [session])
    #expect(state.messages.map(\.sequence) == [2, 3])
    #expect(state.messages.map(\.isReleased) == [true, false])
    #expect(state.identifiers.map(\.identifier) == [10])
  }

  private func event(_ name: String, _ payload: String, at time: Int64) -> LastEvent {
    LastEvent(eventID: name, format: "json", payload: Array(payload.utf8), time: time)
  }

  @Test func keepsTheLastOfEachEvent() throws {
    let one = DeviceKey(typeID: "edge", deviceID: "e1")
    let other = DeviceKey(typeID: "edge", deviceID: "e2")
    let state = try kept([
      [.putLastEvent(one, event("a", "1", at: 1)), .putLastEvent(other, event("a", "9", at: 1))],
      [.putLastEvent(one, event("a", "2", at: 2)), .putLastEvent(one, event("b", "3", at: 2))],
      [.removeLastEvent(one, eventID: "b"), .removeDevice(other)],
      [.putUsage(day: "2024-05-01", byteCount: 7), .putUsage(day: "2024-05-01", byteCount: 8)],
    ])
    #expect(state.lastEvents.map(\.1) == [event("a", "2", at: 2)])
    #expect(state.usage == ["2024-05-01": 8])
    // As many as the service keeps, the newest of them.
    let many = try kept([(1...8).map { .putLastEvent(one, event("e\($0)", "", at: Int64($0))) }])
    #expect(many.lastEvents.map(\.1.time).sorted() == [4, 5, 6, 7, 8])
  }

  /// However many devices there are and however often they speak: no page of the disk for each of their messages.
  @Test func writesLittleForEachEvent() throws {
    let rounds = 60
    let devices = 2000
    let payload = String(repeating: "x", count: 100)
    try inFolder { folder in
      let store = try PlatformStore(folder: folder)
      let before = try written()
      for round in 1...rounds {
        try store.commit(
          (0..<devices).map { number in
            .putLastEvent(
              DeviceKey(typeID: "edge", deviceID: "e\(number)"), event("status", payload, at: Int64(round)))
          })
      }
      let bytes = try written() - before
      #expect(bytes / (rounds * devices) < 1024)
      // What is out of date does not stay.
      let size = try FileManager.default.attributesOfItem(atPath: folder + "/" + PlatformStore.fileName)[.size] as? Int
      #expect(try #require(size) < 12 << 20)
      #expect(try store.load().lastEvents.count == devices)
      #expect(try store.load().lastEvents.allSatisfy { $0.1.time == Int64(rounds) })
    }
  }

  /// Bytes that this program has handed to the system for writing.
  private func written() throws -> Int {
    let text = try String(contentsOfFile: "/proc/self/io", encoding: .utf8)
    let line = try #require(text.split(separator: "\n").first { $0.hasPrefix("wchar: ") })
    return try #require(Int(line.dropFirst("wchar: ".count)))
  }

  @Test func takesOverTheFirstVersionsEvents() throws {
    try inFolder { folder in
      let queue = try DatabaseQueue(path: folder + "/" + PlatformStore.fileName)
      try PlatformStore.migrator.migrate(queue, upTo: "1")
      try queue.write { database in
        try database.execute(
          sql: """
            INSERT INTO lastEvent (typeID, deviceID, eventID, format, payload, time)
            VALUES ('edge', 'e1', 'a', 'json', x'7b7d', 5)
            """)
      }
      try queue.close()
      let state = try PlatformStore(folder: folder).load()
      #expect(state.lastEvents.map(\.0) == [DeviceKey(typeID: "edge", deviceID: "e1")])
      #expect(state.lastEvents.map(\.1) == [event("a", "{}", at: 5)])
    }
  }

  @Test func keepsRequests() throws {
    let devices = ["b", "a"].map {
      DeviceProgress(
        device: DeviceKey(typeID: "edge", deviceID: $0), state: .asked(.initiate, requestID: "r"), message: "",
        updated: 1)
    }
    let request = ManagementRequest(
      id: "q", action: "device/reboot", parameters: [ActionParameter(name: "n", value: .integer(7))],
      devices: devices, started: 1, expires: 2, isComplete: false)
    var done = devices[1]
    done.state = .done(.success)
    let state = try kept([[.putRequest(request)], [.putProgress(request: "q", done)]])
    #expect(state.requests.map(\.id) == ["q"])
    #expect(state.requests.first?.devices == [devices[0], done])
    #expect(state.requests.first?.parameters == request.parameters)
    #expect(try kept([[.putRequest(request)], [.removeRequest("q")]]).requests.isEmpty)
  }

  @Test func tellsWhetherTryingAgainHelps() throws {
    try inFolder { folder in
      let store = try PlatformStore(folder: folder)
      let message = MessageRecord(session: 1, sequence: 1, topic: [], payload: [], qos: 1, isReleased: false)
      try store.commit([.putMessage(message)])
      let again = #expect(throws: CommitError.self) { try store.commit([.putMessage(message)]) }
      #expect(again?.isTemporary == false)
    }
    for code in [ResultCode.SQLITE_FULL, .SQLITE_BUSY, .SQLITE_LOCKED, .SQLITE_IOERR, .SQLITE_IOERR_WRITE] {
      #expect(CommitError(DatabaseError(resultCode: code)).isTemporary)
    }
    for code in [ResultCode.SQLITE_CORRUPT, .SQLITE_CONSTRAINT_PRIMARYKEY, .SQLITE_NOTADB, .SQLITE_TOOBIG] {
      #expect(!CommitError(DatabaseError(resultCode: code)).isTemporary)
    }
  }

  @Test func makesAGroupWholeOrNotAtAll() throws {
    try inFolder { folder in
      let store = try PlatformStore(folder: folder)
      let message = MessageRecord(session: 1, sequence: 1, topic: [], payload: [], qos: 1, isReleased: false)
      try store.commit([.putMessage(message)])
      #expect(throws: (any Error).self) {
        try store.commit([.putType(DeviceTypeRecord(id: "t")), .putMessage(message)])
      }
      #expect(try store.load().types.isEmpty)
    }
  }

  @Test func refusesWhatIsNoDatabase() throws {
    try inFolder { folder in
      #expect(
        FileManager.default.createFile(
          atPath: folder + "/" + PlatformStore.fileName, contents: Data(repeating: 7, count: 10_000)))
      #expect(throws: StoreError.self) { try PlatformStore(folder: folder) }
    }
    #expect(throws: StoreError.self) { try PlatformStore(folder: "/nowhere/at/all") }
  }
}
