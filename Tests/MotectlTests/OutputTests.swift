import Foundation
import PlatformClient
import PlatformProtocol
import PlatformService
import Testing

@testable import motectl

@Suite struct PrintableTests {
  @Test(arguments: [
    ("plain", "plain"), ("grün 温度", "grün 温度"), ("a\u{1B}[31mb", #"a\x1b[31mb"#), ("a\nb\tc\r", #"a\nb\tc\r"#),
    ("\u{0}\u{7F}", #"\x00\x7f"#), ("\u{9B}31m", #"\x9b31m"#), ("a\u{202E}b", #"a\u{202e}b"#),
    ("\u{2066}x\u{2069}", #"\u{2066}x\u{2069}"#), ("\u{2028}", #"\u{2028}"#), ("\u{200B}", #"\u{200b}"#),
  ])
  func text(_ text: String, _ expected: String) { #expect(printable(text) == expected) }

  @Test func jsonStaysJSON() throws {
    let value = JSONValue.string("a\u{1B}\u{9B}\u{202E}\u{E0001}ü")
    let text = safeJSON(value)
    #expect(text == #""a\u001b\u009b\u202e\udb40\udc01ü""#)
    #expect(JSONValue(text: text) == value)
  }

  @Test func payloads() {
    #expect(payloadText(Array("a\u{1B}".utf8)) == #"a\x1b"#)
    #expect(payloadText([0xFF, 0]) == "base64:/wA=")
    #expect(payloadMember(Array("{}".utf8)).name == "payload")
    #expect(payloadMember(Array("{".utf8)) == .init("text", .string("{")))
    #expect(payloadMember([0xFF]) == .init("base64", .string("/w==")))
  }

  @Test func words() {
    #expect(word("plain") == "plain")
    #expect(word("two words") == #""two words""#)
    #expect(word("") == #""""#)
    #expect(word("a=b") == #""a=b""#)
  }
}

@Suite struct TableTests {
  @Test(arguments: [("abc", 3), ("温度", 4), ("e\u{301}", 1), ("", 0)])
  func widths(_ text: String, _ expected: Int) { #expect(columns(text) == expected) }

  @Test func fitting() {
    #expect(fitted("ab", to: 4) == "ab  ")
    #expect(fitted("abcdef", to: 4) == "abc…")
    #expect(fitted("温度温度", to: 4) == "温… ")
    #expect(cut("abcdef", to: 4) == "abc…")
    #expect(cut("abc", to: 0) == "")
    for width in 0...9 { #expect(columns(cut("a温bü度cd", to: width)) <= width) }
  }

  @Test func tables() {
    let rows = [["edge", "e1", "ok"], ["longer", "e22", ""]]
    #expect(table(["T", "ID", "X"], rows, width: nil) == ["T       ID   X", "edge    e1   ok", "longer  e22"])
    #expect(table(["T", "ID", "X"], rows, width: 9).allSatisfy { columns($0) <= 9 })
  }
}

@Suite struct EventTableTests {
  private func message(_ payload: String) -> ApplicationMessage {
    ApplicationMessage(topic: "iot-2/type/T/id/D/evt/E/fmt/json", payload: Array(payload.utf8))
  }

  private func device(_ id: String) -> DeviceKey { DeviceKey(typeID: "edge", deviceID: id) }

  @Test func oneRowForEachEvent() {
    var events = EventTable()
    let start = Date(timeIntervalSince1970: 1000)
    events.add(device("e1"), "status", message(#"{"d":{"temp":21.7,"name":"a b"},"ts":"x"}"#), at: start)
    events.add(device("e2"), "status", message(#"{"x":{"y":[1]}}"#), at: start)
    events.add(device("e1"), "status", message("no json\u{1B}"), at: start + 5)
    let lines = events.lines("note", width: 80, height: 24, now: start + 65)
    #expect(
      lines == [
        "TYPE  ID  EVENT   COUNT  AGE  VALUES", #"edge  e1  status  2      1m   no json\x1b"#,
        #"edge  e2  status  1      1m   x={"y":[1]}"#, "note",
      ])
  }

  @Test func members() {
    var events = EventTable()
    let payload = #"{"d":{"temp":21.7,"name":"a b","ok":true,"\u001b":null}}"#
    events.add(device("e1"), "s", message(payload), at: Date())
    #expect(
      events.lines("", width: 200, height: 24, now: Date())[1].hasSuffix(#"temp=21.7 name="a b" ok=true \x1b=null"#))
  }

  @Test func theLatestRowsFit() {
    var events = EventTable()
    let start = Date(timeIntervalSince1970: 1000)
    for number in 0..<50 { events.add(device("e\(number)"), "s", message("{}"), at: start + Double(number)) }
    let lines = events.lines("note", width: 30, height: 10, now: start)
    #expect(lines.count == 10)
    #expect(lines[1].contains("e42"))
    #expect(lines[8].contains("e49"))
    #expect(lines[9] == "note, 42 more")
    #expect(lines.allSatisfy { columns($0) <= 30 })
  }

  @Test func rowsAreBounded() {
    var events = EventTable()
    let start = Date(timeIntervalSince1970: 1000)
    for number in 0...EventTable.rowsMax {
      events.add(device("e\(number)"), "s", message(""), at: start + Double(number))
    }
    let lines = events.lines("", width: 30, height: 20_000, now: start)
    #expect(lines.count == EventTable.rowsMax + 2)
    #expect(!lines.contains { $0.contains(" e0 ") })
  }

  @Test(arguments: [(0.0, "0s"), (59.9, "59s"), (60, "1m"), (3600, "1h"), (90_000, "1d"), (-5, "0s")])
  func ages(_ seconds: Double, _ expected: String) { #expect(age(seconds) == expected) }
}

@Suite struct LineTests {
  @Test func monitoring() {
    let payload =
      #"{"Action":"Disconnect","Time":"T","ClientID":"d:ab12cd:T:D","ClientAddr":"1.2.3.4","Port":1883,"#
      + #""Secure":false,"CloseCode":91,"Reason":"The connection\u001b"}"#
    let message = ApplicationMessage(topic: "iot-2/type/T/id/D/mon", payload: Array(payload.utf8))
    #expect(
      monitoringLine(message)
        == #"T disconnect d:ab12cd:T:D address=1.2.3.4 port=1883 secure=false code=91 reason="The connection\u001b""#)
  }

  @Test func logEntries() throws {
    func line(_ json: String) throws -> String { logLine(try #require(JSONValue(text: json))) }
    #expect(
      try line(#"{"message":"disk full\u001b","timestamp":"T","severity":1,"data":"AGE="}"#)
        == #"T warning disk full\x1b data=\x00a"#)
    #expect(try line(#"{"message":"m","timestamp":"T","severity":7}"#) == "T unknown m")
    #expect(try line(#"{"errorCode":4711,"timestamp":"T"}"#) == "T error-code 4711")
    #expect(try line(#"{"message":"m","severity":2,"data":"%%"}"#) == "- error m data=%%")
  }

  @Test func onlyNewEntries() {
    let old: [JSONValue] = [.string("a"), .string("b"), .string("b")]
    #expect(
      newEntries([.string("b"), .string("b"), .string("b"), .string("c")], after: old) == [.string("b"), .string("c")])
    #expect(newEntries(old, after: old).isEmpty)
  }

  @Test func devicesWithTheirConnections() throws {
    let devices = try #require(
      JSONValue(
        text: #"""
          [{"typeId":"edge","deviceId":"e1","classId":"Device","deviceInfo":{"fwVersion":"1.4"},
            "connection":{"connected":true,"time":"T1"}},
           {"typeId":"edge","deviceId":"e2\u001b","deviceInfo":{}}]
          """#)?.array)
    var states: [DeviceKey: ConnectionState] = [:]
    for state in devices.compactMap(ConnectionState.init(of:)) { states[state.device] = state }
    #expect(
      deviceLines(devices, states, width: nil) == [
        "TYPE  ID      CLASS   STATE      SINCE  FIRMWARE  PLACE", "edge  e1      Device  connected  T1     1.4",
        #"edge  e2\x1b          -          -      -"#,
      ])
  }

  @Test func connectionStates() throws {
    let entry = try #require(
      JSONValue(
        text: #"{"id":"d:ab12cd:T:D","connectionStatus":"disconnected","disconnectedDateTime":"T2"}"#))
    let state = try #require(ConnectionState(entry))
    #expect(state.device == DeviceKey(typeID: "T", deviceID: "D"))
    #expect(!state.isConnected && state.time == "T2")
    #expect(
      ConnectionState(.members(["id": .string("a:ab12cd:app"), "connectionStatus": .string("connected")])) == nil)
  }

  @Test func leavesOfADocument() throws {
    let value = try #require(JSONValue(text: #"{"a":{"b":[1,"x\u001b"],"c":null},"d":true}"#))
    let found = leaves(value, path: "").map { "\($0.0)=\($0.1)" }
    #expect(found == ["a.b.0=1", #"a.b.1=x\x1b"#, "d=true"])
  }
}
