import caffe

class Unfinished(caffe.Layer):
    def forward(self, bottom, top:
        pass
