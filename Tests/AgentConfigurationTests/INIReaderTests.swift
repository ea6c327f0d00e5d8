import Bytes
import TestSupport
import Testing

@testable import AgentConfiguration

@Suite struct INIReaderTests {
  /// Each line of `text` in a form that a person can compare: `kind:name`, `key=value`, or the fault and its column.
  private func read(_ bytes: [UInt8]) -> [String] {
    var reader = INIReader()
    var lines: [String] = []
    while let line = reader.next(in: bytes.span) {
      switch line {
      case .empty: lines.append("")
      case .heading(let kind, let name, let surplus):
        let place = surplus.map { "@\(reader.column(of: $0, in: bytes.span))" } ?? ""
        lines.append("[\(Array(bytes[kind]).text):\(Array(bytes[name]).text)]\(place)")
      case .entry(let key, let value):
        lines.append("\(Array(bytes[key]).text)=\(Array(bytes[value]).text)")
      case .fault(let fault, let offset):
        lines.append("\(fault)@\(reader.lineNumber):\(reader.column(of: offset, in: bytes.span))")
      }
    }
    return lines
  }

  private func read(_ text: String) -> [String] { read(Array(text: text)) }

  @Test func linesOfEachKind() {
    #expect(
      read("# a\n; b\n\n[server]\n[ event  status ]\nkey = a value \nlast=")
        == ["", "", "", "[server:]", "[event:status]", "key=a value", "last="])
  }

  @Test func onlyTheFirstEqualsSignSeparates() {
    #expect(read("auth-token = a=b==") == ["auth-token=a=b=="])
  }

  @Test func thereAreNoCommentsBehindValues() {
    #expect(read("t = a # b ; c") == ["t=a # b ; c"])
    #expect(read("t = #") == ["t=#"])
  }

  @Test func commentsMayBeIndented() {
    #expect(read("  # a\n\t; b") == ["", ""])
  }

  @Test func linesEndInEitherWay() {
    #expect(read("a=1\r\nb=2\r\n[s]\r\n\r\n") == ["a=1", "b=2", "[s:]", ""])
  }

  /// What is in a certificate is not the configuration's.
  @Test func certificatesArePassedOver() {
    let certificate = "-----BEGIN CERTIFICATE-----\nMIIB=\n[a]\n-----END CERTIFICATE-----\n"
    #expect(read("a=1\n\(certificate)b=2\nc") == ["a=1", "", "", "", "", "b=2", "noSeparator@7:1"])
    #expect(read(certificate + certificate) == Array(repeating: "", count: 8))
    #expect(read("----\n-----BEGIN X-----\na=1\n") == ["noSeparator@1:1", "", "", "noSeparator@3:1"])
  }

  @Test func aByteOrderMarkInFrontIsSkipped() {
    #expect(read("\u{FEFF}a=1\n") == ["a=1"])
    #expect(read("\u{FEFF}x") == ["noSeparator@1:1"])
  }

  @Test func faultsHaveTheirPlace() {
    #expect(read("a=1\n  word") == ["a=1", "noSeparator@2:3"])
    #expect(read(" = 1") == ["noKey@1:2"])
    #expect(read("[a") == ["headingUnclosed@1:1"])
    #expect(read("[]") == ["headingEmpty@1:1"])
    #expect(read("[a] # b") == ["[a:]@5"])
    #expect(read("a=b\0c") == ["controlByte@1:4"])
    #expect(read("a=\u{7F}") == ["controlByte@1:3"])
    #expect(read("a\rb=1") == ["controlByte@1:2"])
    #expect(read([0x61, 0x3D, 0xC3, 0x28]) == ["notUTF8@1:3"])
    #expect(read([0x23, 0xE9]) == ["commentNotText@1:2"])
  }

  @Test func columnsCountCharacters() {
    #expect(read("ä=ö\0") == ["controlByte@1:4"])
    #expect(read([0xC3, 0xA4, 0x3D, 0xE2, 0x82, 0xAC, 0xFF]) == ["notUTF8@1:4"])
  }

  @Test func longLinesAreSkipped() {
    let long = "a=" + String(repeating: "x", count: ConfigurationLimits.lineBytesMax - 2)
    #expect(read(long + "\nb=1").last == "b=1")
    #expect(read(long).count == 1)
    #expect(read(long + "y\nb=1") == ["lineTooLong@1:2049", "b=1"])
  }

  @Test func nothingGivesNothing() {
    #expect(read("") == [])
    #expect(read("\u{FEFF}") == [])
    #expect(read("\n") == [""])
  }
}
