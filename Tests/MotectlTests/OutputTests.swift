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
    let head = [TableColumn("T"), TableColumn("ID"), TableColumn("X")]
    #expect(table(head, rows, width: nil) == ["T       ID   X", "edge    e1   ok", "longer  e22"])
    #expect(table(head, rows, width: 9).allSatisfy { columns($0) <= 9 })
  }

  /// What matters least becomes narrower first, and goes before the next one does; what never gives way is there.
  @Test func columnsGiveWay() {
    let head = [
      TableColumn("ID"), TableColumn("CLASS", rank: 2), TableColumn("STATE"), TableColumn("TEXT", rank: 1, widthMin: 4),
    ]
    let rows = [["a-name-of-20-letters", "Device", "connected", "a long text at the end"]]
    func lines(_ width: Int) -> [String] { table(head, rows, width: width) }
    #expect(lines(80)[1] == "a-name-of-20-letters  Device  connected  a long text at the end")
    #expect(lines(60)[1] == "a-name-of-20-letters  connected  a long text at the end")
    #expect(lines(45)[1] == "a-name-of-20-letters  connected  a long text…")
    #expect(lines(35) == ["ID                    STATE", "a-name-of-20-letters  connected"])
    #expect(lines(25)[1] == "a-name-of-20-…  connected")
    for width in 10...80 { #expect(lines(width).allSatisfy { columns($0) <= width }) }
  }

  /// With names of the usual length all that an operator looks for first is there at 80 columns.
  @Test func devicesAtEightyColumns() throws {
    let device = try #require(
      JSONValue(
        text: #"""
          {"typeId":"edge-gateway","deviceId":"building-7-floor-2-0042","classId":"Gateway",
           "deviceInfo":{"fwVersion":"edge-os-1.5.0","descriptiveLocation":"behind the door of the second floor"},
           "connection":{"connected":true,"time":"2026-11-28T03:00:00.000Z"}}
          """#))
    let state = try #require(ConnectionState(of: device))
    let lines = deviceLines([device], [state.device: state], width: 80)
    #expect(lines.allSatisfy { columns($0) <= 80 })
    for word in ["edge-gateway", "building-7-floor-2-0042", "connected", "2026-11-28"] {
      #expect(lines[1].contains(word))
    }
  }
}

@Suite struct EventTableTests {
  private func message(_ payload: String) -> ApplicationMessage {
    ApplicationMessage(topic: "iot-2/type/T/id/D/evt/E/fmt/json", payload: Array(payload.utf8))
  }

  /// Whether each of these keys means something.
  private func press(_ keys: String, in events: inout EventTable) -> Bool {
    keys.utf8.reduce(true) { events.take($1) && $0 }
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
    let line = events.lines("", width: 200, height: 24, now: Date())[1]
    #expect(line.hasSuffix(#"temp=21.7 name="a b" ok=true \x1b=null"#))
  }

  @Test func rowsAreSorted() {
    var events = EventTable()
    let start = Date(timeIntervalSince1970: 1000)
    for (number, name) in ["e3", "e1", "e2"].enumerated() {
      events.add(device(name), "s", message("{}"), at: start + Double(number))
    }
    func names() -> [String] {
      events.lines("", width: 80, height: 24, now: start).dropFirst().dropLast().map {
        String($0.dropFirst(6).prefix(2))
      }
    }
    #expect(names() == ["e1", "e2", "e3"])
    let sorts = press("s", in: &events)
    #expect(sorts && names() == ["e2", "e1", "e3"])
    let isUnknown = !press("x", in: &events)
    #expect(isUnknown)
  }

  /// Keys turn the page; the last page is a full one.
  @Test func pages() {
    var events = EventTable()
    events.hasKeys = true
    for number in 10..<60 { events.add(device("e\(number)"), "s", message("{}"), at: Date()) }
    func shown() -> [String] {
      let lines = events.lines("note", width: 60, height: 10, now: Date())
      #expect(lines.count == 10 && lines.allSatisfy { columns($0) <= 60 })
      return [lines[1], lines[8], lines[9]]
    }
    #expect(shown()[0].contains("e10") && shown()[1].contains("e17"))
    #expect(shown()[2] == "rows 1 to 8 of 50, keys: blank b s /, note")
    let turns = press(" ", in: &events)
    #expect(turns && shown()[0].contains("e18"))
    _ = press("         ", in: &events)
    #expect(shown()[1].contains("e59") && shown()[2].hasPrefix("rows 43 to 50 of 50"))
    _ = press("bbbbbbbbb", in: &events)
    #expect(shown()[0].contains("e10"))
  }

  @Test func filters() {
    var events = EventTable(filter: "OPEN")
    events.add(device("e1"), "door", message(#"{"d":{"state":"open"}}"#), at: Date())
    events.add(device("e2"), "door", message(#"{"d":{"state":"closed"}}"#), at: Date())
    #expect(events.shows(device("e1"), "door", message(#"{"d":{"state":"open"}}"#)))
    #expect(!events.shows(device("e2"), "door", message(#"{"d":{"state":"closed"}}"#)))
    func shown() -> [String] { events.lines("note", width: 80, height: 24, now: Date()) }
    var lines = shown()
    #expect(lines.count == 3 && lines[1].contains("e1") && lines[2] == "filter 'OPEN': 1 of 2, note")
    // Another one, typed: with a slip.
    var isTaken = press("/e2x\u{7F}", in: &events)
    #expect(isTaken && shown().last == "filter: e2_")
    isTaken = press("\n", in: &events)
    lines = shown()
    #expect(isTaken && lines.count == 3 && lines[1].contains("closed"))
    isTaken = press("/x\u{1B}", in: &events)
    #expect(isTaken && shown().count == 4)
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
