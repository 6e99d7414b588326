// WebGL2 points: one canvas, a viewport for each model.

const VERTEX = `#version 300 es
layout(location = 0) in vec3 place;
layout(location = 1) in float step_;
layout(location = 2) in float matrix_;
uniform mat4 camera;
uniform float size;
uniform sampler2D flags;
uniform sampler2D palette;
out vec4 colour;
void main() {
  int at = int(matrix_);
  float flag = texelFetch(flags, ivec2(at % 1024, at / 1024), 0).r;
  gl_Position = camera * vec4(place, 1.0);
  gl_PointSize = max(1.0, size * (flag > 0.9 ? 1.6 : 1.0) / gl_Position.w);
  colour = texelFetch(palette, ivec2(int(step_ * 255.0 + 0.5), 0), 0);
  if (flag < 0.1) gl_Position = vec4(2.0, 2.0, 2.0, 1.0);
}`;
const FRAGMENT = `#version 300 es
precision mediump float;
in vec4 colour;
out vec4 drawn;
void main() {
  vec2 from = gl_PointCoord - 0.5;
  if (dot(from, from) > 0.25) discard;
  drawn = colour;
}`;
export const HIDDEN = 0, SHOWN = 128, PICKED = 255;

/** Draws the models of a scene on a canvas; `null` where the browser has no WebGL2. */
export class Renderer {
  static on(canvas, scene) {
    const gl = canvas.getContext("webgl2", { antialias: true, alpha: false, preserveDrawingBuffer: true });
    return gl && new Renderer(gl, canvas, scene);
  }

  constructor(gl, canvas, scene) {
    this.gl = gl; this.canvas = canvas; this.scene = scene;
    this.program = link(gl);
    this.uniforms = Object.fromEntries(["camera", "size", "flags", "palette"].map((name) => [name, gl.getUniformLocation(this.program, name)]));
    this.clouds = scene.models.map((model) => this.load(model));
    this.palette = this.texture();
    gl.enable(gl.DEPTH_TEST);
  }

  load(model) {
    const gl = this.gl, own = gl.createVertexArray();
    gl.bindVertexArray(own);
    const cloud = { own, count: model.count, steps: gl.createBuffer(), flags: this.texture() };
    this.attribute(0, gl.createBuffer(), model.positions, 3, gl.FLOAT, false);
    this.attribute(1, cloud.steps, new Uint8Array(model.count), 1, gl.UNSIGNED_BYTE, true);
    this.attribute(2, gl.createBuffer(), model.points.tensor, 1, gl.UNSIGNED_SHORT, false);
    return cloud;
  }

  attribute(place, buffer, data, size, type, normalised) {
    const gl = this.gl;
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
    gl.bufferData(gl.ARRAY_BUFFER, data, gl.STATIC_DRAW);
    gl.enableVertexAttribArray(place);
    gl.vertexAttribPointer(place, size, type, normalised, 0, 0);
  }

  texture() {
    const gl = this.gl, made = gl.createTexture();
    gl.bindTexture(gl.TEXTURE_2D, made);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
    return made;
  }

  colour({ steps, palette }) {
    const gl = this.gl;
    this.clouds.forEach((cloud, i) => {
      gl.bindBuffer(gl.ARRAY_BUFFER, cloud.steps);
      gl.bufferData(gl.ARRAY_BUFFER, steps[i], gl.STATIC_DRAW);
    });
    const bytes = Uint8Array.from(palette.flatMap((hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)).concat(255)));
    gl.bindTexture(gl.TEXTURE_2D, this.palette);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, 256, 1, 0, gl.RGBA, gl.UNSIGNED_BYTE, bytes);
  }

  /** For each model an array of HIDDEN, SHOWN or PICKED, one a matrix. */
  mark(flags) {
    const gl = this.gl;
    this.clouds.forEach((cloud, i) => {
      const height = Math.max(1, Math.ceil(flags[i].length / 1024)), bytes = new Uint8Array(1024 * height);
      bytes.set(flags[i]);
      gl.bindTexture(gl.TEXTURE_2D, cloud.flags);
      gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.R8, 1024, height, 0, gl.RED, gl.UNSIGNED_BYTE, bytes);
    });
  }

  /** Draw up to `most` points of each model. `views`: a rectangle of pixels and a camera for each model. */
  draw(views, most, size, background) {
    const gl = this.gl;
    gl.disable(gl.SCISSOR_TEST);
    gl.clearColor(...background, 1);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.useProgram(this.program);
    gl.uniform1i(this.uniforms.flags, 0);
    gl.uniform1i(this.uniforms.palette, 1);
    gl.activeTexture(gl.TEXTURE1); gl.bindTexture(gl.TEXTURE_2D, this.palette);
    gl.activeTexture(gl.TEXTURE0);
    gl.enable(gl.SCISSOR_TEST);
    this.clouds.forEach((cloud, i) => {
      const { x, y, width, height, matrix } = views[i];
      gl.viewport(x, this.canvas.height - y - height, width, height);
      gl.scissor(x, this.canvas.height - y - height, width, height);
      gl.uniformMatrix4fv(this.uniforms.camera, false, matrix);
      gl.uniform1f(this.uniforms.size, (size * height) / 220);
      gl.bindTexture(gl.TEXTURE_2D, cloud.flags);
      gl.bindVertexArray(cloud.own);
      gl.drawArrays(gl.POINTS, 0, Math.min(cloud.count, most));
    });
  }

  /** RGBA of the whole canvas, the upper row first. */
  pixels() {
    const gl = this.gl, { width, height } = this.canvas, raw = new Uint8Array(width * height * 4), out = new Uint8Array(raw.length);
    gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, raw);
    for (let row = 0; row < height; row++) out.set(raw.subarray(row * width * 4, (row + 1) * width * 4), (height - 1 - row) * width * 4);
    return { width, height, data: out };
  }
}

function link(gl) {
  const program = gl.createProgram();
  for (const [kind, text] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, text);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program));
  return program;
}
