# SPDX-License-Identifier: MIT
# needs: java
# The version, and a program of maps, strings, threads and direct buffers, run from its source.
java -version 2>&1
cat > Job.java <<'END'
import java.nio.ByteBuffer;
import java.util.*;
import java.util.zip.CRC32;

public class Job {
	public static void main(String[] arguments) throws Exception {
		Map<String, List<Integer>> map = new TreeMap<>();
		for (int i = 0; i < 200000; i++)
			map.computeIfAbsent("key" + i % 1009, k -> new ArrayList<>()).add(i);
		long sum = 0;
		for (List<Integer> list : map.values())
			sum += list.get(list.size() - 1);
		System.out.println(map.size() + " " + sum);
		long[] result = new long[4];
		Thread[] threads = new Thread[4];
		for (int t = 0; t < 4; t++) {
			int number = t;
			threads[t] = new Thread(() -> {
				CRC32 crc = new CRC32();
				for (int i = 0; i < 300; i++) {
					ByteBuffer buffer = ByteBuffer.allocateDirect(1 + i * 97 % 20000);
					while (buffer.hasRemaining())
						buffer.put((byte) (i + number));
					buffer.flip();
					crc.update(buffer);
				}
				result[number] = crc.getValue();
			});
			threads[t].start();
		}
		for (Thread thread : threads)
			thread.join();
		System.out.println(Arrays.toString(result));
	}
}
END
if java --list-modules | grep '^jdk.compiler@' > /dev/null; then # read to its end
	java -Xmx256m -XX:+UseSerialGC Job.java
fi
