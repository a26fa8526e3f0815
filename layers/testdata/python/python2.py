import caffe


class Old(caffe.Layer):
    def forward(self, bottom, top):
        print "in Python 2"
