import Bytes
import TestSupport
import Testing

@Suite struct CRC32CTests {
  private func checksum(_ bytes: [UInt8]) -> UInt32 {
    var check = CRC32C()
    check.add(bytes.span)
    return check.value
  }

  /// RFC 3720, appendix B.4, and the check value of the catalogues.
  @Test func publishedVectors() {
    #expect(checksum([]) == 0)
    #expect(checksum(Array(text: "123456789")) == 0xE306_9283)
    #expect(checksum(Array(repeating: 0, count: 32)) == 0x8A91_36AA)
    #expect(checksum(Array(repeating: 0xFF, count: 32)) == 0x62A8_AB43)
    #expect(checksum(Array(0..<32)) == 0x46DD_794E)
    #expect(checksum(Array((0..<32).reversed())) == 0x113F_DB5C)
    let command: [UInt8] = [
      0x01, 0xC0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x14, 0, 0, 0, 0, 0, 0x04, 0, 0, 0, 0, 0x14, 0, 0, 0, 0x18,
      0x28, 0, 0, 0, 0, 0, 0, 0, 0x02, 0, 0, 0, 0, 0, 0, 0,
    ]
    #expect(checksum(command) == 0xD996_3A56)
  }

  @Test func piecesAreAsGoodAsTheWhole() {
    let bytes = Array(text: "the order of pieces counts, their number does not")
    for count in 0...bytes.count {
      var check = CRC32C()
      check.add(bytes.span.extracting(0..<count))
      check.add(bytes.span.extracting(count..<bytes.count))
      #expect(check.value == checksum(bytes))
    }
  }
}
