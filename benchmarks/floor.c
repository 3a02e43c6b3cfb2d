/* The plain floor of load.py: libjpeg-turbo decodes the crop, a bilinear resize, one
 * thread, photos in memory. cc -O3 floor.c -ljpeg -lm; floor LIST TASK IMAGES prints
 * milliseconds of processor time an image. LIST: a file with one path a line. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <jpeglib.h>

enum { SIZE = 224, MOST = 4096 };

static double uniform(void) { return rand() / (RAND_MAX + 1.0); }

static void resize(const unsigned char *in, int stride, int h, int w,
                   unsigned char *out) {
  static int left[SIZE], part[SIZE];
  for (int x = 0; x < SIZE; x++) {
    double at = fmin(fmax((x + 0.5) * w / SIZE - 0.5, 0), w - 1.001);
    if (at < 0) at = 0;
    left[x] = (int)at;
    part[x] = (int)((at - left[x]) * 256);
  }
  for (int y = 0; y < SIZE; y++) {
    double at = fmin(fmax((y + 0.5) * h / SIZE - 0.5, 0), h - 1.001);
    if (at < 0) at = 0;
    int top = (int)at, v = (int)((at - top) * 256);
    const unsigned char *a = in + (size_t)top * stride, *b = a + (h > 1 ? stride : 0);
    for (int x = 0; x < SIZE; x++) {
      int u = part[x], next = w > 1 ? 3 : 0;
      const unsigned char *p = a + 3 * left[x], *q = b + 3 * left[x];
      for (int c = 0; c < 3; c++) {
        int upper = p[c] * (256 - u) + p[c + next] * u;
        int lower = q[c] * (256 - u) + q[c + next] * u;
        *out++ = (upper * (256 - v) + lower * v) >> 16;
      }
    }
  }
}

int main(int argc, char **argv) {
  if (argc != 4) return 2;
  int full = !strcmp(argv[2], "full"), images = atoi(argv[3]), count = 0;
  static unsigned char *data[MOST];
  static unsigned long sizes[MOST];
  char path[4096];
  FILE *list = fopen(argv[1], "r");
  while (list && count < MOST && fgets(path, sizeof path, list)) {
    path[strcspn(path, "\n")] = 0;
    FILE *file = fopen(path, "rb");
    fseek(file, 0, SEEK_END);
    sizes[count] = ftell(file);
    rewind(file);
    data[count] = malloc(sizes[count]);
    if (fread(data[count], 1, sizes[count], file) != sizes[count]) return 1;
    fclose(file);
    count++;
  }
  unsigned char *crop = malloc(64 << 20), *out = malloc(SIZE * SIZE * 3);
  clock_t start = clock();
  for (int i = 0; i < images; i++) {
    struct jpeg_decompress_struct info;
    struct jpeg_error_mgr errors;
    info.err = jpeg_std_error(&errors);
    jpeg_create_decompress(&info);
    jpeg_mem_src(&info, data[i % count], sizes[i % count]);
    jpeg_read_header(&info, TRUE);
    info.out_color_space = JCS_RGB;
    int H = info.image_height, W = info.image_width, h = SIZE, w = SIZE;
    for (int trial = 0; full && trial < 10; trial++) {
      double area = H * (double)W * (0.08 + 0.92 * uniform());
      double ratio = exp(log(0.75) + (log(4 / 3.) - log(0.75)) * uniform());
      w = (int)round(sqrt(area * ratio)), h = (int)round(sqrt(area / ratio));
      if (w <= W && h <= H) break;
      h = w = H < W ? H : W;
    }
    int top = (int)(uniform() * (H - h + 1)), left = (int)(uniform() * (W - w + 1));
    jpeg_start_decompress(&info);
    JDIMENSION x = left, width = w;
    jpeg_crop_scanline(&info, &x, &width);
    jpeg_skip_scanlines(&info, top);
    for (int y = 0; y < h; y++) {
      JSAMPROW row = crop + (size_t)y * width * 3;
      jpeg_read_scanlines(&info, &row, 1);
    }
    jpeg_abort_decompress(&info);
    jpeg_destroy_decompress(&info);
    const unsigned char *from = crop + 3 * (left - x);
    if (full) {
      resize(from, width * 3, h, w, out);
    } else {
      for (int y = 0; y < SIZE; y++)
        memcpy(out + y * SIZE * 3, from + (size_t)y * width * 3, SIZE * 3);
    }
  }
  printf("%.4f\n", 1e3 * (clock() - start) / CLOCKS_PER_SEC / images);
  return 0;
}
