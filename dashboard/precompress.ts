// Writes a gzip and a Brotli file beside each file of the build, so that the server never compresses anything itself.

import { readdir, readFile, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { brotliCompressSync, gzipSync } from "node:zlib"
import type { Plugin } from "vite"

const TEXT = /\.(html|js|css|svg|json)$/
const CODINGS = { gz: (body: Buffer) => gzipSync(body, { level: 9 }), br: brotliCompressSync }

export function precompress(): Plugin {
  let folder = ""
  return {
    name: "precompress",
    apply: "build",
    configResolved(config) {
      folder = config.build.outDir
    },
    async closeBundle() {
      const files = await readdir(folder, { recursive: true })
      await Promise.all(files.filter((file) => TEXT.test(file)).map((file) => compress(join(folder, file))))
    },
  }
}

async function compress(file: string): Promise<void> {
  const body = await readFile(file)
  for (const [ending, coded] of Object.entries(CODINGS)) await writeFile(`${file}.${ending}`, coded(body))
}
