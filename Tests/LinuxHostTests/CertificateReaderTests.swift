import Bytes
import CLinux
import Foundation
import TestSupport
import Testing

@testable import LinuxHost

@Suite struct CertificateReaderTests {
  private let pki = Certificates.shared

  /// The certificates that the reader finds in a file of these bytes.
  private func read(_ text: [UInt8]) throws -> [[UInt8]] {
    var arena = makeArena(byteCount: 8192)
    var reader = try PEMReader(PEMReader.certificateLine, for: "test", from: &arena)
    var ends: [Int32] = [-1, -1]
    #expect(pipe(&ends) == 0)
    // More than a pipe holds would wait for ever.
    #expect(text.count < 65536)
    _ = write(ends[1], text, text.count)
    close(ends[1])
    defer { close(ends[0]) }
    var found: [[UInt8]] = []
    while try reader.fill(from: ends[0]) {
      while reader.next() { found.append(Array(reader.content)) }
    }
    return found
  }

  private func der(of identity: Identity) throws -> [UInt8] {
    let text = try String(contentsOfFile: identity.certificate, encoding: .utf8)
    let body = text.split(separator: "\n").filter { !$0.hasPrefix("-----") }.joined()
    return Array(try #require(Data(base64Encoded: body)))
  }

  private func pem(_ identities: Identity...) throws -> String {
    try identities.map { try String(contentsOfFile: $0.certificate, encoding: .utf8) }.joined()
  }

  private func subject(of certificate: [UInt8]) -> Range<Int>? { DER.subject(of: certificate.span) }

  private func isSameName(_ left: [UInt8], _ right: [UInt8]) -> Bool { DER.isSameName(left.span, right.span) }

  private func isElement(_ bytes: [UInt8]) -> Bool { DER.element(bytes.span, at: 0) != nil }

  // MARK: RFC 7468

  @Test func decodesEachCertificate() throws {
    let text = "# a comment\n" + (try pem(pki.root)) + "more text\n\n" + (try pem(pki.server, pki.rsa))
    #expect(try read(Array(text: text)) == [der(of: pki.root), der(of: pki.server), der(of: pki.rsa)])
  }

  @Test func takesAnyLineEnd() throws {
    let text = try pem(pki.root, pki.server)
    let expected = [try der(of: pki.root), try der(of: pki.server)]
    #expect(try read(Array(text: text.replacingOccurrences(of: "\n", with: "\r\n"))) == expected)
    #expect(try read(Array(text: String(text.dropLast()))) == expected)
  }

  /// All characters there are, in lines that do and do not end where a group of four does.
  @Test(arguments: [1, 2, 3, 4, 5, 63, 64, 76, 5000])
  func takesLinesOfAnyLength(_ length: Int) throws {
    let bytes = (0..<1023).map { UInt8(truncatingIfNeeded: $0 &* 167 &+ $0 >> 8) }
    for count in 1020...1023 {
      let body = Array(Data(bytes.prefix(count)).base64EncodedString())
      let lines = stride(from: 0, to: body.count, by: length).map { body[$0..<min($0 + length, body.count)] + "\n" }
      let text = "-----BEGIN CERTIFICATE-----\n" + String(lines.joined()) + "-----END CERTIFICATE-----\n"
      #expect(try read(Array(text: text)) == [Array(bytes.prefix(count))])
    }
  }

  @Test func passesOverOtherThings() throws {
    let key = try String(contentsOfFile: pki.root.key, encoding: .utf8)
    let text = key + (try pem(pki.root)) + key.replacingOccurrences(of: "PRIVATE KEY", with: "TRUSTED CERTIFICATE")
    #expect(try read(Array(text: text)) == [der(of: pki.root)])
    #expect(try read([]).isEmpty)
    #expect(try read(Array(text: "-----BEGIN CERTIFICATE----")).isEmpty)
    #expect(try read(Array(text: "x-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")).isEmpty)
  }

  @Test func readsBehindAByteOrderMark() throws {
    let marked = "\u{FEFF}" + (try pem(pki.root))
    #expect(try read(Array(text: marked + marked)) == [der(of: pki.root), der(of: pki.root)])
  }

  @Test func passesOverWhatIsDamaged() throws {
    let damaged = "-----BEGIN CERTIFICATE-----\nAAA!A\n-----END CERTIFICATE-----\n"
    let large = "-----BEGIN CERTIFICATE-----\n" + String(repeating: "A", count: 4200) + "\n-----END CERTIFICATE-----\n"
    #expect(try read(Array(text: damaged + large + (try pem(pki.root)))) == [der(of: pki.root)])
    // One that breaks off is none.
    #expect(try read(Array(text: String(try pem(pki.root).dropLast(40)))).isEmpty)
  }

  // MARK: X.690

  @Test func findsTheSubject() throws {
    for identity in [pki.root, pki.server, pki.rsa, pki.between] {
      let certificate = try der(of: identity)
      let range = try #require(subject(of: certificate))
      let name = Array(certificate[range])
      #expect(name.first == 0x30)
      let common = ["between": "Test Intermediate", "root": "Test CA"][identity.name] ?? "localhost"
      #expect(name.text.hasSuffix(common))
    }
  }

  @Test func survivesEveryTruncationAndCorruption() throws {
    let certificate = try der(of: pki.server)
    for count in 0..<certificate.count { _ = DER.subject(of: certificate.span.extracting(0..<count)) }
    let root = try der(of: pki.root)
    let name = Array(root[try #require(subject(of: root))])
    for index in 0..<certificate.count {
      for bit in 0..<8 {
        var changed = certificate
        changed[index] ^= 1 << bit
        if let range = DER.subject(of: changed.span) { #expect(range.upperBound <= changed.count) }
      }
    }
    for index in name.indices {
      for value in 0...255 {
        var changed = name
        changed[index] = UInt8(value)
        _ = DER.isSameName(changed.span, name.span)
      }
    }
  }

  @Test func comparesNamesAsAuthoritiesWriteThem() {
    // Name ::= SEQUENCE OF SET OF SEQUENCE { OID 2.5.4.3, text }
    func name(_ tag: UInt8, _ text: String) -> [UInt8] {
      let text = Array(text: text)
      let count = UInt8(text.count)
      return [0x30, count + 11, 0x31, count + 9, 0x30, count + 7, 0x06, 0x03, 0x55, 0x04, 0x03, tag, count] + text
    }
    let printable = name(0x13, "Mote CA")
    #expect(isSameName(printable, printable))
    #expect(isSameName(printable, name(0x0C, "Mote CA")))
    #expect(isSameName(printable, name(0x0C, "MOTE ca")))
    #expect(!isSameName(printable, name(0x13, "Mote CB")))
    #expect(!isSameName(printable, name(0x13, "Mote CA2")))
    #expect(!isSameName(printable, name(0x04, "Mote CA")))
    var other = printable
    other[10] = 0x0A
    #expect(!isSameName(printable, other))
  }

  @Test(
    arguments: [
      [], [0x30], [0x30, 0x80], [0x30, 0x81], [0x30, 0x83, 0, 0, 1, 0], [0x30, 0x82, 0xFF], [0x30, 0x7F],
      [0x30, 0x82, 0xFF, 0xFF, 0],
    ] as [[UInt8]])
  func refusesWrongLengths(bytes: [UInt8]) {
    #expect(!isElement(bytes))
  }

  // MARK: Stores

  @Test func readsAFolder() throws {
    let folder = pki.folder.appendingPathComponent("store")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    try Data(contentsOf: URL(fileURLWithPath: pki.impostor.certificate))
      .write(to: folder.appendingPathComponent("a.crt"))
    try Data("nothing".utf8).write(to: folder.appendingPathComponent("b.pem"))
    let server = try TLSServer(pki.server)
    let driver = try LinkDriver(
      host: "localhost", port: server.port, security: .verified, trusted: folder.path)
    driver.certificateTime = WallTime(milliseconds: driver.certificateTime.milliseconds + 1000)
    #expect(driver.open() == .failed(.tlsUnknownIssuer))
    try Data(contentsOf: URL(fileURLWithPath: pki.root.certificate)).write(to: folder.appendingPathComponent("c.pem"))
    #expect(driver.open() == .open)
  }

  @Test func findsAnAuthorityAtTheEndOfALargeBundle() throws {
    // Two hundred strangers come first.
    let stranger = try pem(pki.rsa)
    let bundle = try pki.bundle(
      "large.pem", [pki.root], before: String(repeating: stranger, count: 200))
    let server = try TLSServer(pki.chained, chain: pki.between)
    let driver = try LinkDriver(host: "localhost", port: server.port, security: .verified, trusted: bundle)
    driver.certificateTime = WallTime(milliseconds: driver.certificateTime.milliseconds + 1000)
    #expect(driver.open() == .open)
  }
}
